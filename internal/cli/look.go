package cli

import (
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// look is how text is drawn for one stream.
type look struct {
	color bool
	tty   bool
	// size returns the columns and rows there are; 0 columns means no limit.
	size func() (columns, rows int)
}

// plain is a stream that is not a terminal.
func plain() look {
	return look{size: func() (int, int) { return 0, 0 }}
}

// lookOf finds out what w is. NO_COLOR switches color off, and so does TERM=dumb, which also means
// that nothing can be redrawn. COLUMNS sets the width of what is not a terminal.
func lookOf(w io.Writer, env func(string) string) look {
	l := plain()
	if n, err := strconv.Atoi(env("COLUMNS")); err == nil && n > 0 {
		l.size = func() (int, int) { return n, 0 }
	}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || env("TERM") == "dumb" {
		return l
	}
	return look{
		tty:   true,
		color: env("NO_COLOR") == "",
		size: func() (int, int) {
			columns, rows, err := term.GetSize(int(f.Fd()))
			if err != nil {
				return 80, 24
			}
			return columns, rows
		},
	}
}

func (l look) width() int {
	columns, _ := l.size()
	return columns
}

func (l look) style(code, text string) string {
	if !l.color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (l look) bold(text string) string   { return l.style("1", text) }
func (l look) dim(text string) string    { return l.style("2", text) }
func (l look) red(text string) string    { return l.style("31", text) }
func (l look) green(text string) string  { return l.style("32", text) }
func (l look) yellow(text string) string { return l.style("33", text) }

// clean makes text that came from a cluster safe to show: one line, and nothing that a terminal
// would act on.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t':
			return ' '
		case r < 0x20, r == 0x7f, 0x80 <= r && r <= 0x9f:
			return -1 // control characters, among them the start of every escape sequence
		case r == 0x200b, r == 0x200e, r == 0x200f, 0x202a <= r && r <= 0x202e, 0x2060 <= r && r <= 0x2069, r == 0xfeff:
			return -1 // invisible, or changes the direction of what follows
		}
		return r
	}, text)
}

// cut shortens text to n characters, the last of which is then "…"; n of 0 does not limit.
func cut(text string, n int) string {
	if n <= 0 || utf8.RuneCountInString(text) <= n {
		return text
	}
	runes := []rune(text)
	return string(runes[:n-1]) + "…"
}

// wrap breaks text at spaces into lines of at most n characters; n of 0 does not limit. A word that
// is longer gets a line of its own and stays whole, so that it can be copied.
func wrap(text string, n int) []string {
	words := strings.Fields(text)
	if len(words) == 0 {
		return nil
	}
	if n <= 0 {
		return []string{strings.Join(words, " ")}
	}
	var lines []string
	line := words[0]
	for _, w := range words[1:] {
		if utf8.RuneCountInString(line)+1+utf8.RuneCountInString(w) > n {
			lines = append(lines, line)
			line = w
			continue
		}
		line += " " + w
	}
	return append(lines, line)
}

// table writes rows in aligned columns, two spaces apart, the last one as long as it is. Cells are
// measured as they show: what paint adds does not count.
type table struct {
	rows [][]string
	// paint returns cell (of row and column) with its style; nil means plain.
	paint func(row, column int, cell string) string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer) error {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for r, row := range t.rows {
		for i, cell := range row {
			shown := cell
			if t.paint != nil {
				shown = t.paint(r, i, cell)
			}
			b.WriteString(shown)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}
