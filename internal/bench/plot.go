package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// plot draws points as SVG, both axes logarithmic.
func plot(points []point) []byte {
	const width, height, left, right, top, bottom = 720, 400, 70, 190, 20, 50
	lines := []struct {
		name, color string
		of          func(p point) float64
	}{
		{"page of 1,000, ms", "#1b6ca8", func(p point) float64 { return p.page }},
		{"boot, ms of processor", "#c0392b", func(p point) float64 { return p.bootCPU }},
		{"boot beside a round, ms", "#e67e22", func(p point) float64 { return p.roundCPU }},
		{"delete, ms of processor", "#8e44ad", func(p point) float64 { return p.delCPU }},
		{"one server, ms", "#27834a", func(p point) float64 { return p.show }},
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, l := range lines {
		for _, p := range points {
			low, high = min(low, l.of(p)), max(high, l.of(p))
		}
	}
	y0, y1 := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	x0, x1 := math.Log10(float64(points[0].servers)), math.Log10(float64(points[len(points)-1].servers))
	at := func(servers int, ms float64) (x, y float64) {
		x = left + (math.Log10(float64(servers))-x0)/max(x1-x0, 1e-9)*(width-left-right)
		y = height - bottom - (math.Log10(ms)-y0)/max(y1-y0, 1)*(height-top-bottom)
		return x, y
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	for d := y0; d <= y1; d++ {
		_, y := at(points[0].servers, math.Pow(10, d))
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n", left, y, width-right, left-8, y+4, math.Pow(10, d))
	}
	for _, p := range points {
		x, _ := at(p.servers, low)
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%d</text>`+"\n", x, top, height-bottom, x, height-bottom+18, p.servers)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">servers in the store</text>`+"\n", (left+width-right)/2, height-12)
	var names []float64 // where they are
	for _, l := range lines {
		var path []string
		for _, p := range points {
			x, y := at(p.servers, l.of(p))
			path = append(path, fmt.Sprintf("%.1f %.1f", x, y))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x, y, l.color)
		}
		_, y := at(points[0].servers, l.of(points[len(points)-1]))
		for slices.ContainsFunc(names, func(other float64) bool { return math.Abs(other-y) < 13 }) {
			y += 13
		}
		names = append(names, y)
		fmt.Fprintf(&b, `<path d="M%s" fill="none" stroke="%s" stroke-width="2"/><text x="%d" y="%.1f" fill="%s">%s</text>`+"\n",
			strings.Join(path, "L"), l.color, width-right+10, y+4, l.color, l.name)
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}
