// Package qr draws QR codes for terminals and for print.
package qr

import (
	"fmt"
	"strings"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"
)

// quiet is the margin that readers need, in modules.
const quiet = 4

// A Code is a drawn text. Level M mends 15 % of what is scratched off a label.
type Code struct{ image barcode.Barcode }

// New draws text.
func New(text string) (Code, error) {
	b, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return Code{}, fmt.Errorf("draw a QR code of %d bytes: %w", len(text), err)
	}
	return Code{b}, nil
}

// dark reports whether a module is, with the margin around.
func (c Code) dark(x, y int) bool {
	x, y = x-quiet, y-quiet
	if n := c.image.Bounds().Dx(); x < 0 || y < 0 || x >= n || y >= n {
		return false
	}
	r, _, _, _ := c.image.At(x, y).RGBA()
	return r == 0
}

func (c Code) size() int { return c.image.Bounds().Dx() + 2*quiet }

// Text is the code in half blocks, light on dark as terminals are.
func (c Code) Text() string {
	var b strings.Builder
	for y := 0; y < c.size(); y += 2 {
		for x := range c.size() {
			switch up, down := c.dark(x, y), y+1 < c.size() && c.dark(x, y+1); {
			case up && down:
				b.WriteRune(' ')
			case up:
				b.WriteRune('▄')
			case down:
				b.WriteRune('▀')
			default:
				b.WriteRune('█')
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// SVG is the code with a line of text below, for a label.
func (c Code) SVG(label string) string {
	var path strings.Builder
	n := c.size()
	for y := range n {
		for x := range n {
			if c.dark(x, y) {
				fmt.Fprintf(&path, "M%d %dh1v1h-1z", x, y)
			}
		}
	}
	escaped := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(label)
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" shape-rendering="crispEdges"><rect width="100%%" height="100%%" fill="#fff"/><path d="%s"/><text x="50%%" y="%d" font-family="monospace" font-size="2" text-anchor="middle">%s</text></svg>
`, n, n+2, path.String(), n, escaped)
}
