package main

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"regexp"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/kvferry/kvferry/bench/harness"
)

// Colours that stand for the page's own, which differ in light and in dark:
// the text of the SVG is searched for them.
var (
	ink   = color.RGBA{R: 1, G: 2, B: 3, A: 255}
	grid  = color.RGBA{R: 1, G: 2, B: 4, A: 255}
	bars  = map[harness.Role]color.RGBA{harness.Ours: {1, 2, 5, 255}, harness.Limit: {1, 2, 6, 255}, harness.Peer: {1, 2, 7, 255}}
	names = map[string]color.RGBA{"ink": ink, "grid": grid, "ours": bars[harness.Ours], "limit": bars[harness.Limit], "peer": bars[harness.Peer]}
)

// Text is set as if it were larger than it is shown: the reader's font may be
// wider than the one that it was measured with.
const (
	setSize   = 13
	shownSize = 11
)

// most is how many bars a chart has.
const most = 20

// plots draws the figures of a section, one chart for each operation, data and
// unit of which there are two or more.
func plots(s *harness.Section) ([]chart, error) {
	groups, order := map[string][]*harness.Figure{}, []string(nil)
	for _, f := range s.Figures {
		if len(f.Samples) == 0 {
			continue
		}
		key := subject(f) + "\x00" + string(f.Unit)
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], f)
	}
	var out []chart
	for _, key := range order {
		op, _, _ := strings.Cut(key, "\x00")
		for piece := range slices.Chunk(groups[key], most) {
			if len(piece) < 2 {
				continue
			}
			svg, err := bar(op, piece)
			if err != nil {
				return nil, fmt.Errorf("plot of %s: %w", op, err)
			}
			out = append(out, chart{op, svg})
		}
	}
	return out, nil
}

// subject is what a chart is about: the operation, and the data if the name has
// some.
func subject(f *harness.Figure) string {
	op, rest, _ := strings.Cut(strings.TrimPrefix(f.Name, "op="), "/")
	for part := range strings.SplitSeq(rest, "/") {
		if data, ok := strings.CutPrefix(part, "data="); ok {
			return op + ", " + data
		}
	}
	return op
}

// bar draws the medians as bars, the first at the top, with their intervals.
func bar(title string, figures []*harness.Figure) (template.HTML, error) {
	p := plot.New()
	p.BackgroundColor = nil
	unit := figures[0].Unit
	p.X.Min, p.X.Tick.Marker = 0, ticks(unit)
	styles(p)
	lines := plotter.NewGrid()
	lines.Horizontal.Width = 0
	lines.Vertical.Color = grid
	p.Add(lines)
	labels := make([]string, len(figures))
	for i, f := range figures {
		at := len(figures) - 1 - i
		labels[at] = label(f)
		if err := addBar(p, f, at); err != nil {
			return "", err
		}
	}
	p.NominalY(labels...)
	p.Y.Tick.Label.XAlign, p.Y.Tick.Length, p.Y.Tick.LineStyle.Width = text.XRight, vg.Points(5), 0
	p.Y.Padding = vg.Points(2)
	p.Y.Min, p.Y.Max = -0.5, float64(len(figures))-0.5
	p.X.Max *= 1.3 // room for what stands behind the bars
	canvas := vgsvg.New(vg.Points(480), vg.Points(float64(24*len(figures)+34)))
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", err
	}
	return inline(b.String(), title), nil
}

// addBar adds one figure's bar, interval and value.
func addBar(p *plot.Plot, f *harness.Figure, at int) error {
	median, i := harness.Median(f.Samples), harness.IntervalOf(f.Samples)
	b, err := plotter.NewBarChart(plotter.Values{median}, vg.Points(15))
	if err != nil {
		return err
	}
	b.Horizontal, b.XMin, b.Color, b.LineStyle.Width = true, float64(at), bars[f.Role], 0
	p.Add(b)
	point := plotter.XYs{{X: median, Y: float64(at)}}
	if i.High > i.Low {
		e, err := plotter.NewXErrorBars(struct {
			plotter.XYs
			plotter.XErrors
		}{point, plotter.XErrors{{Low: median - i.Low, High: i.High - median}}})
		if err != nil {
			return err
		}
		e.Color, e.Width, e.CapWidth = ink, vg.Points(1), vg.Points(6)
		p.Add(e)
	}
	value, err := plotter.NewLabels(plotter.XYLabels{XYs: plotter.XYs{{X: max(median, i.High), Y: float64(at)}}, Labels: []string{f.Unit.Text(median)}})
	if err != nil {
		return err
	}
	value.TextStyle[0] = style(setSize)
	value.TextStyle[0].YAlign = text.YCenter
	value.Offset.X = vg.Points(5)
	p.Add(value)
	return nil
}

// label is a figure's name without what the chart's title says, and without
// keys: they are in the table.
func label(f *harness.Figure) string {
	var words []string
	for i, part := range strings.Split(strings.TrimPrefix(f.Name, "op="), "/") {
		if i == 0 || strings.HasPrefix(part, "data=") {
			continue
		}
		if _, value, ok := strings.Cut(part, "="); ok {
			part = value
		}
		words = append(words, part)
	}
	if len(words) == 0 {
		return subject(f)
	}
	return strings.Join(words, " · ")
}

func style(size float64) text.Style {
	return text.Style{Color: ink, Font: font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(size)}, Handler: plot.DefaultTextHandler}
}

// styles sets what is alike in all plots.
func styles(p *plot.Plot) {
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.LineStyle.Color, a.Tick.LineStyle.Color = grid, grid, grid
		a.Tick.Label.Color, a.Tick.Label.Font = ink, style(setSize).Font
	}
}

// ticks writes values as the tables do.
func ticks(u harness.Unit) plot.TickerFunc {
	return func(low, high float64) []plot.Tick {
		out := plot.DefaultTicks{}.Ticks(low, high)
		for i := range out {
			if out[i].Label != "" {
				out[i].Label = u.Text(out[i].Value)
			}
		}
		return out
	}
}

var (
	head  = regexp.MustCompile(`(?s)^.*?<svg[^>]*viewBox="([^"]*)"[^>]*>`)
	fonts = regexp.MustCompile(`font-family:[^;"]*;font-variant:[^;"]*;font-weight:[^;"]*;font-style:[^;"]*;`)
)

// inline makes an SVG part of a page: its colours and its font are the page's.
func inline(svg, title string) template.HTML {
	svg = head.ReplaceAllString(svg, `<svg role="img" aria-label="`+strings.ReplaceAll(template.HTMLEscapeString(title), "$", "$$")+`" viewBox="$1">`)
	svg = fonts.ReplaceAllString(svg, "")
	svg = strings.ReplaceAll(svg, fmt.Sprintf("font-size:%dpx", setSize), fmt.Sprintf("font-size:%dpx", shownSize))
	for name, c := range names {
		svg = strings.ReplaceAll(svg, fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B), "var(--"+name+")")
	}
	return template.HTML(svg) //nolint:gosec // made above; names in it were escaped by the plots' library
}
