package template

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/flytower/flytower/internal/jsonvalue"
)

// formatNumber is the text of a number in JavaScript.
func formatNumber(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case f == 0:
		return "0"
	case f == math.Trunc(f) && math.Abs(f) < 1e15:
		return strconv.FormatInt(int64(f), 10)
	}
	return jsonvalue.FormatNumber(f)
}

// spaces is what JavaScript trims.
const spaces = "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"

func trimSpace(s string) string { return strings.Trim(s, spaces) }

// parseNumber is Number(text): the whole text has to be a number.
func parseNumber(text string) float64 {
	text = trimSpace(text)
	if text == "" {
		return 0
	}
	if len(text) > 2 && text[0] == '0' {
		base := 0
		switch text[1] | 0x20 {
		case 'x':
			base = 16
		case 'o':
			base = 8
		case 'b':
			base = 2
		}
		if base > 0 {
			return wholeInteger(text[2:], base)
		}
	}
	number, rest := decimalPrefix(text)
	if rest != "" {
		return math.NaN()
	}
	return number
}

func wholeInteger(digits string, base int) float64 {
	n, used := integerPrefix(digits, base)
	if used == 0 || used < len(digits) {
		return math.NaN()
	}
	return n
}

// integerPrefix reads digits of a base, and how many they are.
func integerPrefix(text string, base int) (n float64, used int) {
	for used < len(text) && digitValue(text[used]) < base {
		used++
	}
	if used == 0 {
		return math.NaN(), 0
	}
	if used <= 10 {
		i, _ := strconv.ParseInt(text[:used], base, 64)
		return float64(i), used
	}
	if used > maxDigits {
		return math.Inf(1), used
	}
	whole, _ := new(big.Int).SetString(text[:used], base)
	n, _ = new(big.Float).SetInt(whole).Float64()
	return n, used
}

// maxDigits is more than any double has before the point, in any base.
const maxDigits = 1100

func digitValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'z':
		return int(c|0x20-'a') + 10
	}
	return 99
}

// decimalPrefix is parseFloat: it reads as much of the text as is a number.
func decimalPrefix(text string) (n float64, rest string) {
	i := 0
	if i < len(text) && (text[i] == '+' || text[i] == '-') {
		i++
	}
	if after, ok := strings.CutPrefix(text[i:], "Infinity"); ok {
		if text[0] == '-' {
			return math.Inf(-1), after
		}
		return math.Inf(1), after
	}
	count := func() (n int) {
		for ; i < len(text) && text[i] >= '0' && text[i] <= '9'; i++ {
			n++
		}
		return n
	}
	digits := count()
	if i < len(text) && text[i] == '.' {
		i++
		digits += count()
	}
	if digits == 0 {
		return math.NaN(), text
	}
	if end := i; i < len(text) && text[i]|0x20 == 'e' {
		i++
		if i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		if count() == 0 {
			i = end
		}
	}
	n, _ = strconv.ParseFloat(text[:i], 64) // out of range gives the infinity that it should
	return n, text[i:]
}

func parseFloat(text string) float64 {
	n, _ := decimalPrefix(strings.TrimLeft(text, spaces))
	return n
}

// parseInt is JavaScript's parseInt with a base.
func parseInt(text string, base float64) float64 {
	text = strings.TrimLeft(text, spaces)
	sign := 1.0
	if text != "" && (text[0] == '-' || text[0] == '+') {
		if text[0] == '-' {
			sign = -1
		}
		text = text[1:]
	}
	radix := int(toInt32(base))
	if (radix == 0 || radix == 16) && len(text) > 1 && text[0] == '0' && text[1]|0x20 == 'x' {
		text, radix = text[2:], 16
	}
	if radix == 0 {
		radix = 10
	}
	if radix < 2 || radix > 36 {
		return math.NaN()
	}
	n, _ := integerPrefix(text, radix)
	return sign * n
}

func toInt32(f float64) int32 { return int32(toUint32(f)) }

func toUint32(f float64) uint32 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return uint32(int64(math.Mod(math.Trunc(f), 1<<32)))
}

// toInteger drops the fraction; NaN is 0.
func toInteger(f float64) float64 {
	if math.IsNaN(f) {
		return 0
	}
	return math.Trunc(f) + 0
}

// power is **, which differs from math.Pow where the base is one.
func power(base, exponent float64) float64 {
	if math.IsNaN(exponent) || math.Abs(base) == 1 && math.IsInf(exponent, 0) {
		return math.NaN()
	}
	if base == 10 && exponent == math.Trunc(exponent) && math.Abs(exponent) < 400 {
		f, _ := strconv.ParseFloat("1e"+strconv.Itoa(int(exponent)), 64) // exactly rounded
		return f
	}
	return math.Pow(base, exponent)
}

func round(f float64) float64 {
	if math.Abs(f) >= 1<<52 {
		return f
	}
	return math.Floor(f + 0.5)
}

// toFixed is Number.prototype.toFixed.
func toFixed(f float64, digits int) string {
	if math.IsNaN(f) || math.Abs(f) >= 1e21 {
		return formatNumber(f)
	}
	return signed(f, halfUp(math.Abs(f), 'f', digits))
}

// toExponential is Number.prototype.toExponential; digits < 0 are as many as
// needed.
func toExponential(f float64, digits int) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return formatNumber(f)
	}
	return signed(f, shortExponent(halfUp(math.Abs(f), 'e', digits)))
}

// toPrecision is Number.prototype.toPrecision.
func toPrecision(f float64, digits int) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return formatNumber(f)
	}
	text := halfUp(math.Abs(f), 'e', digits-1)
	mantissa, exp, _ := strings.Cut(text, "e")
	exponent, _ := strconv.Atoi(exp)
	if exponent < -6 || exponent >= digits {
		return signed(f, shortExponent(text))
	}
	plain := strings.Replace(mantissa, ".", "", 1)
	switch {
	case exponent < 0:
		plain = "0." + strings.Repeat("0", -exponent-1) + plain
	case exponent+1 < len(plain):
		plain = plain[:exponent+1] + "." + plain[exponent+1:]
	}
	return signed(f, plain)
}

func signed(f float64, text string) string {
	if f < 0 {
		return "-" + text
	}
	return text
}

// shortExponent turns 1e+05 into 1e+5.
func shortExponent(text string) string {
	mantissa, exp, _ := strings.Cut(text, "e")
	exponent, _ := strconv.Atoi(exp)
	if exponent >= 0 {
		return mantissa + "e+" + strconv.Itoa(exponent)
	}
	return mantissa + "e" + strconv.Itoa(exponent)
}

// halfUp formats a number that is not negative. Where package strconv rounds
// what is exactly between two texts to the even one, JavaScript takes the
// larger one.
func halfUp(f float64, format byte, digits int) string {
	if digits < 0 {
		return strconv.FormatFloat(f, format, -1, 64)
	}
	longer := strconv.FormatFloat(f, format, digits+1, 64)
	mantissa, _, _ := strings.Cut(longer, "e")
	if strings.HasSuffix(mantissa, "5") && isExactly(f, longer) {
		f = math.Nextafter(f, math.Inf(1))
	}
	return strconv.FormatFloat(f, format, digits, 64)
}

func isExactly(f float64, text string) bool {
	exact, ok := new(big.Rat).SetString(text)
	return ok && exact.Cmp(new(big.Rat).SetFloat64(f)) == 0
}

// toRadix is Number.prototype.toString with a base other than 10.
func toRadix(f float64, base int) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return formatNumber(f)
	}
	whole, fraction := math.Modf(math.Abs(f))
	integer, _ := big.NewFloat(whole).Int(nil)
	text := integer.Text(base)
	// digits of the fraction until they tell the number from its neighbours
	delta := max(0.5*(math.Nextafter(math.Abs(f), math.Inf(1))-math.Abs(f)), math.SmallestNonzeroFloat64)
	if fraction < delta {
		return signed(f, text)
	}
	var digits []int
	carry := false
	for {
		fraction *= float64(base)
		delta *= float64(base)
		digit := int(fraction)
		digits = append(digits, digit)
		fraction -= float64(digit)
		if (fraction > 0.5 || fraction == 0.5 && digit&1 == 1) && fraction+delta > 1 {
			carry = true
			break
		}
		if fraction < delta {
			break
		}
	}
	for carry && len(digits) > 0 {
		last := len(digits) - 1
		if digits[last]++; digits[last] < base {
			carry = false
		} else {
			digits = digits[:last]
		}
	}
	if carry {
		text = integer.Add(integer, big.NewInt(1)).Text(base)
	}
	if len(digits) == 0 {
		return signed(f, text)
	}
	var b strings.Builder
	for _, d := range digits {
		b.WriteString(strconv.FormatInt(int64(d), base))
	}
	return signed(f, text+"."+b.String())
}
