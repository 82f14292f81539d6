package reason

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Visible returns text in which nothing is hidden: control characters but line ends and tabs, characters
// without width, those that change the direction of text, tags, variation selectors, private and
// unassigned ones, and bytes that are no UTF-8, stand there as ⟦U+202E⟧. It makes no difference to other text.
func Visible(text string) string {
	if !hides(text) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, "⟦byte %02X⟧", text[0])
		case hidden(r):
			fmt.Fprintf(&b, "⟦U+%04X⟧", r)
		default:
			b.WriteString(text[:n])
		}
		text = text[n:]
	}
	return b.String()
}

func hides(text string) bool {
	for i := 0; i < len(text); {
		if c := text[i]; c < utf8.RuneSelf {
			if hidden(rune(c)) {
				return true
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && n == 1 || hidden(r) {
			return true
		}
		i += n
	}
	return false
}

func hidden(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return false
	case r < utf8.RuneSelf:
		return r < 0x20 || r == 0x7F
	case r >= 0xFE00 && r <= 0xFE0F, r >= 0xE0100 && r <= 0xE01EF: // variation selectors carry data unseen
		return true
	case r == 0x115F, r == 0x1160, r == 0x3164, r == 0xFFA0, r == 0x2800: // letters that look like nothing
		return true
	case r == ' ' || unicode.Is(unicode.Zs, r):
		return r != ' ' && r != 0x00A0 && r != 0x3000
	}
	return !unicode.IsGraphic(r) // controls, formats, private use, surrogates, unassigned
}

// clip shortens text to so many characters, and says how many bytes it left out.
func clip(text string, limit int) string {
	n := 0
	for i := range text {
		if n == limit {
			return fmt.Sprintf("%s…[%d bytes more]", text[:i], len(text)-i)
		}
		n++
	}
	return text
}
