// Package spelling finds the name that a mistyped one probably meant.
//
//	spelling.Nearest("databse", []string{"cache", "database"}) // "database"
package spelling

import "strings"

// Nearest returns the candidate that differs least from name, ignoring case,
// or "" if none is near enough to be worth suggesting: up to one edit (a
// letter added, lost, changed, or swapped with its neighbour) per three
// letters. Of equally near candidates the first is returned.
func Nearest(name string, candidates []string) string {
	limit := max(1, len([]rune(name))/3)
	best := ""
	for _, c := range candidates {
		if d := distance(strings.ToLower(name), strings.ToLower(c), limit); d <= limit {
			best, limit = c, d-1
		}
		if limit < 0 {
			break
		}
	}
	return best
}

// distance is the optimal string alignment distance, or limit+1 if the
// lengths alone differ by more.
func distance(a, b string, limit int) int {
	s, t := []rune(a), []rune(b)
	if len(s)-len(t) > limit || len(t)-len(s) > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(t)+1), make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(s); i++ {
		row[0] = i
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(t)]
}
