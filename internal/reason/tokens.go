package reason

import "unicode"

// CountTokens estimates how many tokens a text is. It cuts as the usual tokenizers do before they merge:
// a token for each five begun letters of a word, each three begun digits of a number, each other character;
// a single space goes with what follows it, further ones cost a token for each four begun. For English and
// JSON that is more than the tokenizers of the common models count.
func CountTokens(text string) int {
	n, run := 0, 0
	class := none
	end := func() {
		switch class {
		case letter:
			n += (run + 4) / 5
		case digit:
			n += (run + 2) / 3
		case space:
			n += (run + 2) / 4
		}
		run = 0
	}
	for _, r := range text {
		c := other
		switch {
		case r < 0x80 && (r|0x20 >= 'a' && r|0x20 <= 'z'), r >= 0x80 && unicode.IsLetter(r) && r < 0x2E80:
			c = letter
		case r >= '0' && r <= '9':
			c = digit
		case r == ' ' || r == '\n' || r == '\t':
			c = space
		}
		if c != class {
			end()
			class = c
		}
		if c == other {
			n++
			if r >= 0x80 { // such characters are often two tokens
				n++
			}
			continue
		}
		run++
	}
	end()
	return n
}

type runeClass int

const (
	none runeClass = iota
	letter
	digit
	space
	other
)

// countRequest estimates the input tokens of a request: every part of it, and four tokens of framing for
// each message and tool.
func countRequest(req Request) int {
	n := CountTokens(req.System) + 4
	for _, t := range req.Tools {
		n += CountTokens(t.Name) + CountTokens(t.Description) + CountTokens(string(t.Schema)) + 4
	}
	for _, m := range req.Messages {
		n += countMessage(m)
	}
	return n
}

func countMessage(m Message) int {
	n := CountTokens(m.Text) + 4
	for _, c := range m.Calls {
		n += CountTokens(c.Name) + CountTokens(string(c.Arguments)) + 4
	}
	for _, r := range m.Results {
		n += CountTokens(r.Content) + 4
	}
	return n
}
