package store

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxCanonicalDepth bounds the nesting of the JSON that appendCanonical accepts.
const maxCanonicalDepth = 200

var (
	errJSONSyntax    = errors.New("invalid JSON")
	errJSONTrailing  = errors.New("invalid JSON: text after the value")
	errJSONDepth     = fmt.Errorf("JSON nested deeper than %d levels", maxCanonicalDepth)
	errJSONDuplicate = errors.New("JSON object with a repeated member name")
	errJSONNumber    = errors.New("JSON number outside the range of an IEEE 754 double")
)

// appendCanonical appends the RFC 8785 canonical form of the JSON value in src to dst. Like
// encoding/json, and unlike RFC 8785, it takes invalid UTF-8 and lone surrogates and writes U+FFFD
// for them: a log excerpt cut inside a character must not lose its event. On an error dst is
// returned with unspecified bytes appended.
//
// It writes in one pass, moving the members of an object only where they are not in order already,
// and is an order of magnitude faster than a tree; a fuzz test holds it to gowebpki/jcs.
func appendCanonical(dst, src []byte) ([]byte, error) {
	c := canonicalizer{src: src, dst: dst}
	if err := c.value(0); err != nil {
		return c.dst, err
	}
	c.space()
	if c.pos != len(c.src) {
		return c.dst, errJSONTrailing
	}
	return c.dst, nil
}

type canonicalizer struct {
	src     []byte
	pos     int
	dst     []byte
	members []member // stack of the members of the open objects
	scratch []byte
}

// member is one member of an object: its decoded name, and where its text lies in dst.
type member struct {
	name       []byte
	start, end int
}

func (c *canonicalizer) space() {
	for c.pos < len(c.src) {
		switch c.src[c.pos] {
		case ' ', '\t', '\r', '\n':
			c.pos++
		default:
			return
		}
	}
}

// next skips white space and consumes the byte after it, which must be b.
func (c *canonicalizer) next(b byte) bool {
	c.space()
	if c.pos < len(c.src) && c.src[c.pos] == b {
		c.pos++
		return true
	}
	return false
}

func (c *canonicalizer) value(depth int) error {
	c.space()
	if c.pos == len(c.src) {
		return errJSONSyntax
	}
	switch b := c.src[c.pos]; {
	case b == '{':
		return c.object(depth + 1)
	case b == '[':
		return c.array(depth + 1)
	case b == '"':
		_, err := c.string()
		return err
	case b == '-' || '0' <= b && b <= '9':
		return c.number()
	}
	for _, literal := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(c.src[c.pos:], []byte(literal)) {
			c.pos += len(literal)
			c.dst = append(c.dst, literal...)
			return nil
		}
	}
	return errJSONSyntax
}

func (c *canonicalizer) array(depth int) error {
	if depth > maxCanonicalDepth {
		return errJSONDepth
	}
	c.pos++
	c.dst = append(c.dst, '[')
	if c.next(']') {
		c.dst = append(c.dst, ']')
		return nil
	}
	for {
		if err := c.value(depth); err != nil {
			return err
		}
		if c.next(']') {
			c.dst = append(c.dst, ']')
			return nil
		}
		if !c.next(',') {
			return errJSONSyntax
		}
		c.dst = append(c.dst, ',')
	}
}

func (c *canonicalizer) object(depth int) error {
	if depth > maxCanonicalDepth {
		return errJSONDepth
	}
	c.pos++
	c.dst = append(c.dst, '{')
	if c.next('}') {
		c.dst = append(c.dst, '}')
		return nil
	}
	base, first := len(c.members), len(c.dst)
	for {
		c.space()
		if c.pos == len(c.src) || c.src[c.pos] != '"' {
			return errJSONSyntax
		}
		start := len(c.dst)
		name, err := c.string()
		if err != nil {
			return err
		}
		if !c.next(':') {
			return errJSONSyntax
		}
		c.dst = append(c.dst, ':')
		if err := c.value(depth); err != nil {
			return err
		}
		c.members = append(c.members, member{name: name, start: start, end: len(c.dst)})
		if c.next('}') {
			break
		}
		if !c.next(',') {
			return errJSONSyntax
		}
		c.dst = append(c.dst, ',')
	}
	own := c.members[base:]
	if err := c.sortMembers(own, first); err != nil {
		return err
	}
	c.members = c.members[:base]
	c.dst = append(c.dst, '}')
	return nil
}

// sortMembers puts the text of the members, which starts at first in dst, in order.
func (c *canonicalizer) sortMembers(own []member, first int) error {
	sorted := true
	for i := 1; i < len(own) && sorted; i++ {
		sorted = compareUTF16(own[i-1].name, own[i].name) < 0
	}
	if sorted {
		return nil
	}
	slices.SortFunc(own, func(a, b member) int { return compareUTF16(a.name, b.name) })
	for i := 1; i < len(own); i++ {
		if bytes.Equal(own[i-1].name, own[i].name) {
			return errJSONDuplicate
		}
	}
	c.scratch = append(c.scratch[:0], c.dst[first:]...)
	c.dst = c.dst[:first]
	for i, m := range own {
		if i > 0 {
			c.dst = append(c.dst, ',')
		}
		c.dst = append(c.dst, c.scratch[m.start-first:m.end-first]...)
	}
	return nil
}

// string consumes a string, writes its canonical form and returns its decoded value, which may be a
// part of src.
func (c *canonicalizer) string() ([]byte, error) {
	c.pos++
	start := c.pos
	for c.pos < len(c.src) {
		switch b := c.src[c.pos]; {
		case b == '"':
			value := c.src[start:c.pos]
			c.dst = append(c.dst, c.src[start-1:c.pos+1]...)
			c.pos++
			return value, nil
		case b == '\\' || b >= utf8.RuneSelf:
			return c.slowString(start)
		case b < ' ':
			return nil, errJSONSyntax
		}
		c.pos++
	}
	return nil, errJSONSyntax
}

// slowString is string for one that holds an escape or a byte that is not ASCII; the position is at
// the first such.
func (c *canonicalizer) slowString(start int) ([]byte, error) {
	value := append([]byte(nil), c.src[start:c.pos]...)
	for c.pos < len(c.src) {
		switch b := c.src[c.pos]; {
		case b == '"':
			c.pos++
			c.dst = appendCanonicalString(c.dst, value)
			return value, nil
		case b < ' ':
			return nil, errJSONSyntax
		case b == '\\':
			r, err := c.escape()
			if err != nil {
				return nil, err
			}
			value = utf8.AppendRune(value, r)
		case b < utf8.RuneSelf:
			value = append(value, b)
			c.pos++
		default:
			r, size := utf8.DecodeRune(c.src[c.pos:])
			value = utf8.AppendRune(value, r)
			c.pos += size
		}
	}
	return nil, errJSONSyntax
}

// escape consumes one escape sequence, or two that make a surrogate pair.
func (c *canonicalizer) escape() (rune, error) {
	if c.pos+1 >= len(c.src) {
		return 0, errJSONSyntax
	}
	b := c.src[c.pos+1]
	if b == 'u' {
		r, ok := c.hex4(c.pos)
		if !ok {
			return 0, errJSONSyntax
		}
		c.pos += 6
		if utf16.IsSurrogate(r) {
			if low, ok := c.hex4(c.pos); ok {
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					c.pos += 6
					return pair, nil
				}
			}
			return utf8.RuneError, nil
		}
		return r, nil
	}
	c.pos += 2
	switch b {
	case '"', '\\', '/':
		return rune(b), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	}
	return 0, errJSONSyntax
}

// hex4 reads the escape \uXXXX at position p.
func (c *canonicalizer) hex4(p int) (rune, bool) {
	if p+6 > len(c.src) || c.src[p] != '\\' || c.src[p+1] != 'u' {
		return 0, false
	}
	var r rune
	for _, b := range c.src[p+2 : p+6] {
		switch {
		case '0' <= b && b <= '9':
			b -= '0'
		case 'a' <= b && b <= 'f':
			b -= 'a' - 10
		case 'A' <= b && b <= 'F':
			b -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(b)
	}
	return r, true
}

func (c *canonicalizer) number() error {
	start := c.pos
	digits := func() int {
		from := c.pos
		for c.pos < len(c.src) && '0' <= c.src[c.pos] && c.src[c.pos] <= '9' {
			c.pos++
		}
		return c.pos - from
	}
	at := func(set string) bool {
		if c.pos < len(c.src) && bytes.IndexByte([]byte(set), c.src[c.pos]) >= 0 {
			c.pos++
			return true
		}
		return false
	}
	at("-")
	whole := c.pos
	n := digits()
	if n == 0 || n > 1 && c.src[whole] == '0' {
		return errJSONSyntax
	}
	integer := true
	if at(".") {
		integer = false
		if digits() == 0 {
			return errJSONSyntax
		}
	}
	if at("eE") {
		integer = false
		at("+-")
		if digits() == 0 {
			return errJSONSyntax
		}
	}
	text := c.src[start:c.pos]
	if integer && n <= 15 && string(text) != "-0" { // exact in a double, and written as it is
		c.dst = append(c.dst, text...)
		return nil
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return errJSONNumber
	}
	c.dst = appendCanonicalNumber(c.dst, f)
	return nil
}

// appendCanonicalNumber appends f, which is finite, as ECMAScript writes numbers.
func appendCanonicalNumber(dst []byte, f float64) []byte {
	if f == 0 {
		return append(dst, '0') // also for -0
	}
	format := byte('f')
	if abs := math.Abs(f); abs < 1e-6 || abs >= 1e21 {
		format = 'e'
	}
	dst = strconv.AppendFloat(dst, f, format, -1, 64)
	if n := len(dst); format == 'e' && n >= 4 && dst[n-4] == 'e' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1] // e-09 to e-9
		dst = dst[:n-1]
	}
	return dst
}

// appendCanonicalString appends s as a JSON string; invalid UTF-8 becomes U+FFFD.
func appendCanonicalString[T string | []byte](dst []byte, s T) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		b := s[i]
		switch {
		case b >= utf8.RuneSelf:
			r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			dst = utf8.AppendRune(dst, r)
			i += size
			continue
		case b == '"' || b == '\\':
			dst = append(dst, '\\', b)
		case b >= ' ':
			dst = append(dst, b)
		case b == '\b':
			dst = append(dst, '\\', 'b')
		case b == '\f':
			dst = append(dst, '\\', 'f')
		case b == '\n':
			dst = append(dst, '\\', 'n')
		case b == '\r':
			dst = append(dst, '\\', 'r')
		case b == '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		}
		i++
	}
	return append(dst, '"')
}

// compareUTF16 compares valid UTF-8 text by its UTF-16 code units. That differs from the order of
// bytes only between characters above U+FFFF, which UTF-16 writes as surrogates, and U+E000 to U+FFFF.
func compareUTF16(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for i < n && a[i] == b[i] {
		i++
	}
	if i == n || a[i] < 0xee || b[i] < 0xee { // bytes from 0xee start characters from U+E000
		return bytes.Compare(a[i:], b[i:])
	}
	if fourA, fourB := a[i] >= 0xf0, b[i] >= 0xf0; fourA != fourB {
		if fourA {
			return -1
		}
		return 1
	}
	return bytes.Compare(a[i:], b[i:])
}
