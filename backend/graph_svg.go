package backend

import (
	"bufio"
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// SVG writes the graph as a picture that reads like a wiring plan. Each service
// is a vertical wire; each plugin is a card with its extension points and its
// modules, and a dot where its line meets the wire of a service that it needs.
// Services that need others follow below, in the same way. Nothing overlaps
// however many there are. The picture follows the reader's light or dark
// colour scheme, and shows the source of each thing in a tooltip.
func (g Graph) SVG(w io.Writer) error {
	p := newPlan(g)
	out := bufio.NewWriter(w)
	p.write(out)
	return out.Flush()
}

// Measures of the plan, in pixels.
const (
	planMargin  = 28
	planCard    = 400 // width of a card
	planRow     = 26
	planTitle   = 30
	planPill    = 20
	planWire    = 24 // distance of wires
	planGap     = 14 // between cards
	planFont    = 13
	planSmall   = 11
	planLetter  = 0.56 // mean width of a letter, in font sizes
	planMaxText = 46
)

// planRowKind says how a row of the plan is drawn.
type planRowKind int

const (
	planPlugin planRowKind = iota
	planModule
	planService
)

type planLine struct {
	kind  planRowKind
	y     float64 // of its centre
	title string
	note  string // small text to the right
	hint  string // tooltip
	needs []Edge
	self  string // key of the service that a service row is about
}

type planPillBox struct {
	x, y, w float64
	text    string
	hint    string
}

type planCardBox struct {
	y, h  float64
	lines []planLine
	pills []planPillBox
	plain bool // the section of services
}

// plan is the layout of a graph.
type plan struct {
	g             Graph
	column        map[string]int // of a service, by key
	services      []ServiceNode  // in the order of their columns
	cards         []planCardBox
	top           float64 // where the wires begin
	width, height float64
}

func newPlan(g Graph) *plan {
	p := &plan{g: g, column: map[string]int{}}
	users := map[string]int{}
	for _, e := range g.Edges {
		if e.Kind == EdgeNeeds {
			users[e.To]++
		}
	}
	// The services that most things need come first, so that lines are short;
	// root services come last, since other services need them most.
	p.services = slices.Clone(g.Services)
	slices.SortStableFunc(p.services, func(a, b ServiceNode) int {
		return cmp.Or(cmp.Compare(a.Scope, b.Scope), cmp.Compare(users["service:"+b.ID], users["service:"+a.ID]), cmp.Compare(a.ID, b.ID))
	})
	longest := 0.0
	for i, s := range p.services {
		p.column["service:"+s.ID] = i
		longest = max(longest, textWidth(shorten(s.ID), planFont))
	}
	p.top = planMargin + 60 + longest*0.78
	p.layout()
	p.width = planMargin + planCard + 40 + float64(len(p.services))*planWire + longest*0.72 + planMargin
	return p
}

func (p *plan) layout() {
	from := map[string][]Edge{}
	for _, e := range p.g.Edges {
		from[e.From] = append(from[e.From], e)
	}
	y := p.top + 16
	for _, pl := range p.g.Plugins {
		y = p.addCard(p.pluginCard(pl, from, y), y)
	}
	services := planCardBox{y: y, plain: true}
	line := y + planTitle
	for _, s := range p.services {
		key := "service:" + s.ID
		if len(from[key]) == 0 {
			continue
		}
		line += planRow
		services.lines = append(services.lines, planLine{
			kind: planService, y: line - planRow/2, title: s.ID, note: s.Scope, needs: from[key], self: key, hint: serviceHint(s),
		})
	}
	if len(services.lines) > 0 {
		services.h = line - y + 8
		y = p.addCard(services, y)
	}
	p.height = y + 34
}

func (p *plan) addCard(c planCardBox, y float64) float64 {
	p.cards = append(p.cards, c)
	return y + c.h + planGap
}

func (p *plan) pluginCard(pl PluginNode, from map[string][]Edge, top float64) planCardBox {
	card := planCardBox{y: top}
	y := top + planTitle
	card.lines = append(card.lines, planLine{
		kind: planPlugin, y: top + planTitle/2 + 2, title: pl.ID, note: pl.Description, needs: from["plugin:"+pl.ID],
		hint: strings.TrimSpace("plugin " + pl.ID + "\n" + pl.Source + "\n" + pl.Description),
	})
	x := float64(planMargin + 16)
	for _, e := range p.g.ExtensionPoints {
		if e.Plugin != pl.ID {
			continue
		}
		text := shorten(strings.TrimPrefix(e.ID, pl.ID+"."))
		w := textWidth(text, planSmall) + 18
		if x+w > planMargin+planCard-12 && x > planMargin+16 {
			x, y = planMargin+16, y+planPill+4
		}
		hint := "extension point " + e.ID + "\n" + e.Type + "\n" + e.Source
		if e.Module != "" {
			hint += "\noffered by module " + e.Module
		}
		card.pills = append(card.pills, planPillBox{x, y, w, text, hint})
		x += w + 6
	}
	if len(card.pills) > 0 {
		y += planPill + 6
	}
	for _, m := range p.g.Modules {
		if m.Plugin != pl.ID {
			continue
		}
		key := "module:" + m.Plugin + "/" + m.ID
		var uses []string
		for _, e := range from[key] {
			if id, ok := strings.CutPrefix(e.To, "extensionPoint:"); ok && e.Kind == EdgeUses {
				uses = append(uses, strings.TrimPrefix(id, pl.ID+"."))
			}
		}
		y += planRow
		note := strings.Join(uses, ", ")
		if note != "" {
			note = "→ " + note
		}
		card.lines = append(card.lines, planLine{
			kind: planModule, y: y - planRow/2, title: m.ID, note: note, needs: from[key],
			hint: strings.TrimSpace("module " + m.ID + " of plugin " + m.Plugin + "\n" + m.Source + "\n" + m.Description),
		})
	}
	card.h = y - top + 6
	return card
}

func serviceHint(s ServiceNode) string {
	hint := s.Scope + " service " + s.ID + "\n" + s.Type + "\n" + s.Origin
	if len(s.Sources) > 0 {
		hint += ": " + strings.Join(s.Sources, ", ")
	}
	if len(s.Decorators) > 0 {
		hint += "\ndecorated: " + strings.Join(s.Decorators, ", ")
	}
	return hint
}

func (p *plan) wireX(column int) float64 {
	x := planMargin + planCard + 40 + float64(column)*planWire
	if column < len(p.services) && p.services[column].Scope == "root" && p.services[0].Scope != "root" {
		x += planWire // a gap between plugin and root services
	}
	return x
}

const planStyle = `
  :root { color-scheme: light dark; }
  svg { --paper:#ffffff; --ink:#1c2430; --soft:#5f6b7a; --card:#f4f6f9; --edge:#d5dbe3; --wire:#e3e8ee; --plugin:#2563c9; --root:#b4540a; --pill:#e6eefc; --pillink:#1d4f9f; }
  @media (prefers-color-scheme: dark) {
    svg { --paper:#12161c; --ink:#e6eaf0; --soft:#96a2b3; --card:#1b222c; --edge:#313b48; --wire:#29323d; --plugin:#6ea8ff; --root:#f0a35c; --pill:#20324f; --pillink:#a9cbff; }
  }
  text { font-family: ui-sans-serif, system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; font-size: 13px; fill: var(--ink); dominant-baseline: central; }
  .title { font-weight: 650; font-size: 14px; }
  .head { font-weight: 650; font-size: 18px; }
  .small { font-size: 11px; fill: var(--soft); }
  .card { fill: var(--card); stroke: var(--edge); }
  .pill { fill: var(--pill); }
  .pilltext { font-size: 11px; fill: var(--pillink); }
  .wire { stroke: var(--wire); stroke-width: 2; }
  .line { stroke: var(--soft); stroke-width: 1; opacity: .45; }
  .plugin { fill: var(--plugin); } .root { fill: var(--root); }
  .optional.plugin { fill: var(--paper); stroke: var(--plugin); stroke-width: 2; }
  .optional.root { fill: var(--paper); stroke: var(--root); stroke-width: 2; }
  .own.plugin { fill: none; stroke: var(--plugin); stroke-width: 2; }
  .own.root { fill: none; stroke: var(--root); stroke-width: 2; }
  .hit { fill: var(--ink); opacity: 0; }
  .row:hover .hit { opacity: .07; }
`

func (p *plan) write(w io.Writer) {
	if len(p.services) > 0 && p.services[0].Scope != "root" {
		p.width += planWire
	}
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" aria-label="Wiring of the backend">`+"\n", p.width, p.height, p.width, p.height)
	fmt.Fprintf(w, "<style>%s</style>\n<rect width=\"100%%\" height=\"100%%\" style=\"fill:var(--paper)\"/>\n", planStyle)
	p.writeHead(w)
	p.writeWires(w)
	for _, c := range p.cards {
		p.writeCard(w, c)
	}
	fmt.Fprintln(w, "</svg>")
}

func (p *plan) writeHead(w io.Writer) {
	g := p.g
	text(w, planMargin, planMargin+10, "head", "Backend")
	text(w, planMargin, planMargin+34, "small", fmt.Sprintf("%s, %s, %s, %s",
		count(len(g.Plugins), "plugin"), count(len(g.Modules), "module"), count(len(g.ExtensionPoints), "extension point"), count(len(g.Services), "service")))
	y := p.top - 66
	legend := func(class, label string) {
		fmt.Fprintf(w, `<circle cx="%d" cy="%.1f" r="5" class="%s"/>`, planMargin+6, y, class)
		text(w, planMargin+20, y, "small", label)
		y += 18
	}
	legend("plugin", "needs a plugin service: one instance per plugin")
	legend("root", "needs a root service: one instance per backend")
	legend("optional plugin", "needs it if it is installed")
	fmt.Fprintf(w, `<rect x="%d" y="%.1f" width="12" height="10" rx="5" class="pill"/>`, planMargin, y-5)
	text(w, planMargin+20, y, "small", "extension point; → is used by a module")
}

// writeWires draws a wire for each service, down to the last dot on it.
func (p *plan) writeWires(w io.Writer) {
	last := map[string]float64{}
	for _, c := range p.cards {
		for _, l := range c.lines {
			for _, e := range l.needs {
				last[e.To] = l.y
			}
			if l.self != "" {
				last[l.self] = l.y
			}
		}
	}
	for i, s := range p.services {
		x, key := p.wireX(i), "service:"+s.ID
		end := max(last[key], p.top+8)
		fmt.Fprintf(w, `<g><title>%s</title>`, escape(serviceHint(s)))
		fmt.Fprintf(w, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="wire"/>`, x, p.top, x, end)
		fmt.Fprintf(w, `<text transform="translate(%.1f %.1f) rotate(-52)"%s>%s</text>`, x, p.top-8, weight(s), escape(shorten(s.ID)))
		fmt.Fprintln(w, `</g>`)
	}
}

func weight(s ServiceNode) string {
	if s.Scope == "root" {
		return ` style="fill:var(--root)"`
	}
	return ` style="fill:var(--plugin)"`
}

func (p *plan) writeCard(w io.Writer, c planCardBox) {
	if c.plain {
		text(w, planMargin+2, c.y+planTitle/2+4, "title", "What services need")
	} else {
		fmt.Fprintf(w, `<rect x="%d" y="%.1f" width="%d" height="%.1f" rx="9" class="card"/>`+"\n", planMargin, c.y, planCard, c.h)
	}
	for _, l := range c.lines {
		p.writeLine(w, l)
	}
	for _, b := range c.pills {
		fmt.Fprintf(w, `<g><title>%s</title><rect x="%.1f" y="%.1f" width="%.1f" height="%d" rx="10" class="pill"/>`, escape(b.hint), b.x, b.y, b.w, planPill)
		fmt.Fprintf(w, `<text x="%.1f" y="%.1f" class="pilltext" text-anchor="middle">%s</text></g>`+"\n", b.x+b.w/2, b.y+planPill/2, escape(b.text))
	}
}

func (p *plan) writeLine(w io.Writer, l planLine) {
	fmt.Fprintf(w, `<g class="row"><title>%s</title>`, escape(l.hint))
	fmt.Fprintf(w, `<rect x="%d" y="%.1f" width="%.1f" height="%d" class="hit"/>`, planMargin, l.y-planRow/2+1, p.width-2*planMargin, planRow-2)
	p.writeDots(w, l)
	x, class := float64(planMargin+16), "title"
	switch l.kind {
	case planModule:
		fmt.Fprintf(w, `<path d="M%d %.1fv8h10" fill="none" class="line"/>`, planMargin+18, l.y-8)
		x, class = planMargin+36, ""
	case planService:
		x, class = planMargin+2, ""
	}
	title := shorten(l.title)
	text(w, x, l.y, class, title)
	size := float64(planFont)
	if class == "title" {
		size = 15
	}
	room := planMargin + planCard - 12 - (x + textWidth(title, size) + 14)
	if note := fit(l.note, planSmall, room); note != "" {
		fmt.Fprintf(w, `<text x="%d" y="%.1f" class="small" text-anchor="end">%s</text>`, planMargin+planCard-12, l.y+0.5, escape(note))
	}
	fmt.Fprintln(w, "</g>")
}

// writeDots draws the line of a row and its dots.
func (p *plan) writeDots(w io.Writer, l planLine) {
	end := 0.0
	for _, e := range l.needs {
		if c, ok := p.column[e.To]; ok {
			end = max(end, p.wireX(c))
		}
	}
	start := float64(planMargin + planCard)
	if c, ok := p.column[l.self]; ok {
		start = min(p.wireX(c), end)
		end = max(p.wireX(c), end)
		for _, e := range l.needs {
			if d, ok := p.column[e.To]; ok {
				start = min(start, p.wireX(d))
			}
		}
	}
	if end == 0 {
		return
	}
	fmt.Fprintf(w, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="line"/>`, start, l.y, end, l.y)
	if c, ok := p.column[l.self]; ok {
		fmt.Fprintf(w, `<rect x="%.1f" y="%.1f" width="11" height="11" rx="2" class="own %s"/>`, p.wireX(c)-5.5, l.y-5.5, p.services[c].Scope)
	}
	for _, e := range l.needs {
		c, ok := p.column[e.To]
		if !ok {
			continue
		}
		class := p.services[c].Scope
		if e.Optional {
			class = "optional " + class
		}
		fmt.Fprintf(w, `<circle cx="%.1f" cy="%.1f" r="5" class="%s"/>`, p.wireX(c), l.y, class)
	}
}

func text(w io.Writer, x, y float64, class, s string) {
	fmt.Fprintf(w, `<text x="%.1f" y="%.1f" class="%s">%s</text>`+"\n", x, y, class, escape(s))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder does not fail
	return b.String()
}

func textWidth(s string, size float64) float64 {
	return float64(utf8.RuneCountInString(s)) * size * planLetter
}

// shorten cuts the middle out of a text that is too long for a label.
func shorten(s string) string {
	r := []rune(s)
	if len(r) <= planMaxText {
		return s
	}
	return string(r[:planMaxText/2]) + "…" + string(r[len(r)-planMaxText/2+1:])
}

// fit cuts a text to a width.
func fit(s string, size, width float64) string {
	r := []rune(s)
	most := int(width / (size * planLetter))
	switch {
	case len(r) <= most:
		return s
	case most < 6:
		return ""
	}
	return strings.TrimRight(string(r[:most-1]), " ,") + "…"
}
