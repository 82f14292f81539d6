package observe

import (
	"cmp"
	"fmt"
	"math/bits"
	"regexp"
	"slices"
	"strings"
)

// Redactor replaces secrets in text by stable tokens, "[redacted:1]", "[redacted:2]", …: the same
// secret gets the same token everywhere in one observation, so that a reader can still see that two
// places hold the same password. It is not safe for concurrent use; the zero value is ready.
//
// It works line by line, and runs an expression only on a line that has one of the expression's
// literals, all of which are looked for in one pass: that is what makes it fast enough for logs. It keeps to word boundaries, since the names
// of Kubernetes objects are full of what looks like the beginning of a token (task-worker,
// disk-pressure).
type Redactor struct {
	tokens map[string]string
	exact  map[string][]string // values known to be secret, by their first bytes, the longest first
	begins [1 << 12]bool       // by literalHash: whether such a value can begin at a place
	count  int
	inPEM  bool
}

// exactPrefix is how many bytes of a value known to be secret find it.
const exactPrefix = 4

// Count is the number of replacements made so far.
func (r *Redactor) Count() int { return r.count }

// Hide makes every later occurrence of the value a secret. Values under 6 bytes are too common to
// be hidden everywhere.
func (r *Redactor) Hide(value string) {
	if len(value) < 6 || isToken(value) {
		return
	}
	start := value[:exactPrefix]
	alike := r.exact[start]
	i, found := slices.BinarySearchFunc(alike, value, func(a, b string) int {
		return cmp.Or(len(b)-len(a), strings.Compare(a, b))
	})
	if found {
		return
	}
	if r.exact == nil {
		r.exact = map[string][]string{}
	}
	r.exact[start] = slices.Insert(alike, i, value)
	r.begins[literalHash(value[0], value[1], value[2])] = true
}

// nextExact returns where the first value known to be secret stands at or after a place, and how long it is; -1 when there
// is none.
func (r *Redactor) nextExact(line string, from int) (at, size int) {
	if len(r.exact) == 0 {
		return -1, 0
	}
	for i := from; i+exactPrefix <= len(line); i++ {
		if !r.begins[literalHash(line[i], line[i+1], line[i+2])] {
			continue
		}
		for _, secret := range r.exact[line[i:i+exactPrefix]] {
			if strings.HasPrefix(line[i:], secret) {
				return i, len(secret)
			}
		}
	}
	return -1, 0
}

// replaceExact replaces all values known to be secret.
func (r *Redactor) replaceExact(line string) string {
	at, size := r.nextExact(line, 0)
	if at < 0 {
		return line
	}
	var out strings.Builder
	for from := 0; ; {
		if at < 0 {
			out.WriteString(line[from:])
			return out.String()
		}
		out.WriteString(line[from:at])
		out.WriteString(r.token(line[at : at+size]))
		from = at + size
		at, size = r.nextExact(line, from)
	}
}

// touches reports whether a text may hold something to redact.
func (r *Redactor) touches(text string) bool {
	if len(text) < 6 {
		return false
	}
	at, _ := r.nextExact(text, 0)
	return at >= 0 || literals.find(text) != 0 || strings.Contains(text, pemBegin)
}

// Secret replaces a whole value.
func (r *Redactor) Secret(value string) string {
	if value == "" || isToken(value) {
		return value
	}
	r.Hide(value)
	return r.token(value)
}

func (r *Redactor) token(secret string) string {
	if isToken(secret) {
		return secret
	}
	r.count++
	if t, ok := r.tokens[secret]; ok {
		return t
	}
	if r.tokens == nil {
		r.tokens = map[string]string{}
	}
	t := fmt.Sprintf("[redacted:%d]", len(r.tokens)+1)
	r.tokens[secret] = t
	return t
}

func isToken(s string) bool { return strings.HasPrefix(s, "[redacted:") && strings.HasSuffix(s, "]") }

// Text redacts a text of any number of lines.
func (r *Redactor) Text(text string) string {
	r.inPEM = false
	if !strings.Contains(text, "\n") {
		return r.line(text)
	}
	return strings.Join(r.Lines(strings.Split(text, "\n")), "\n")
}

// Lines redacts the lines of one text in place, and returns them. A private key may span many.
func (r *Redactor) Lines(lines []string) []string {
	r.inPEM = false
	for i, l := range lines {
		lines[i] = r.line(l)
	}
	return lines
}

const (
	pemBegin = "-----BEGIN "
	pemKey   = "PRIVATE KEY"
	pemEnd   = "-----END "
)

func (r *Redactor) line(line string) string {
	if r.inPEM || strings.Contains(line, pemBegin) {
		line = r.pem(line)
	}
	line = r.replaceExact(line)
	for hits := literals.find(line); hits != 0; hits &= hits - 1 {
		line = patterns[bits.TrailingZeros32(hits)].redact(r, line)
	}
	return line
}

// pem replaces the body of private keys, which spans lines, or has its line ends escaped in one.
func (r *Redactor) pem(line string) string {
	var out strings.Builder
	for {
		if r.inPEM {
			end := strings.Index(line, pemEnd)
			body := line
			if end >= 0 {
				body = line[:end]
			}
			if strings.TrimSpace(body) != "" {
				out.WriteString(r.token(body))
			}
			if end < 0 {
				return out.String()
			}
			r.inPEM = false
			out.WriteString(pemEnd)
			line = line[end+len(pemEnd):]
			continue
		}
		begin := strings.Index(line, pemBegin)
		if begin < 0 {
			out.WriteString(line)
			return out.String()
		}
		head := line[begin+len(pemBegin):]
		label := strings.Index(head, "-----")
		if label < 0 {
			out.WriteString(line)
			return out.String()
		}
		out.WriteString(line[:begin+len(pemBegin)+label+5])
		r.inPEM = strings.Contains(head[:label], pemKey)
		line = head[label+5:]
	}
}

// pattern finds one kind of secret. Group 1 of the expression is kept, group 2 is the secret, and what
// follows is kept.
type pattern struct {
	literals []string // one of them, in any case, is in every match; of at least 3 bytes, ASCII
	re       *regexp.Regexp
	accept   func(secret string) bool // nil accepts all
}

func (p *pattern) redact(r *Redactor, line string) string {
	var out strings.Builder
	for {
		m := p.re.FindStringSubmatchIndex(line)
		if m == nil {
			break
		}
		secret := line[m[4]:m[5]]
		if p.accept != nil && !p.accept(secret) {
			next := max(m[5], m[0]+1)
			out.WriteString(line[:next])
			line = line[next:]
			continue
		}
		out.WriteString(line[:m[4]])
		out.WriteString(r.token(secret))
		line = line[m[5]:]
	}
	if out.Len() == 0 {
		return line
	}
	out.WriteString(line)
	return out.String()
}

// In the expressions, a token starts where no letter, digit, hyphen or underscore stands before it.
const edge = `(^|[^A-Za-z0-9_-])`

var patterns = []pattern{
	{ // JSON Web Tokens
		literals: []string{"eyJ"},
		re:       regexp.MustCompile(edge + `(eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)`),
	},
	{ // AWS access key ids
		literals: []string{"AKIA", "ASIA", "AROA", "ABIA", "ACCA"},
		re:       regexp.MustCompile(edge + `((?:AKIA|ASIA|AROA|ABIA|ACCA)[A-Z0-9]{16})`),
	},
	{ // passwords in URLs
		literals: []string{"://"},
		re:       regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://[^\s/?#:@"'\[\]]*:)([^\s/@"']+)@`),
	},
	{ // authorization headers
		literals: []string{"bearer", "basic", "token"},
		re:       regexp.MustCompile(`(?i)(^|[^A-Za-z0-9_-])(?:bearer|basic|token)\s+([A-Za-z0-9._~+/=-]{12,})`),
		accept:   looksRandom,
	},
	{ // tokens with a vendor's prefix
		literals: []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "npm_", "sk_live_", "rk_live_", "dop_v1_", "hvs."},
		re: regexp.MustCompile(edge + `((?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abprs]-[A-Za-z0-9-]{10,}|` +
			`npm_[A-Za-z0-9]{30,}|[sr]k_live_[A-Za-z0-9]{16,}|dop_v1_[a-f0-9]{40,}|hvs\.[A-Za-z0-9_-]{20,}))`),
	},
	{ // API keys that begin with sk-, which is also how half of "task-…" begins
		literals: []string{"sk-"},
		re:       regexp.MustCompile(edge + `(sk-[A-Za-z0-9_-]{20,})`),
		accept:   mixed,
	},
	{ // Google API keys
		literals: []string{"AIza"},
		re:       regexp.MustCompile(edge + `(AIza[A-Za-z0-9_-]{35})`),
	},
	{ // password=value, password: value, "password":"value"
		literals: []string{"passw", "passphrase", "pwd"},
		re:       regexp.MustCompile(`(?i)((?:password|passwd|passphrase|pwd)(?:\\?["'])?\s{0,4}(?:=|:=|:|=>)\s{0,4}(?:\\?["'])?)` + secretValue),
		accept:   notPlain,
	},
	{ // the same for names that are also words of Kubernetes: after a bare colon stands an image's tag
		literals: []string{
			"secret", "token", "credential", "api_key", "apikey", "api-key", "access_key", "accesskey", "access-key", "private_key", "privatekey", "private-key",
			"enc_key", "enc-key", "encryption_key", "encryption-key", "signing_key", "signing-key",
		},
		re: regexp.MustCompile(`(?i)((?:secret|token|credentials?|api[_-]?key|access[_-]?key|private[_-]?key|enc(?:ryption)?[_-]key|signing[_-]key)` +
			`(?:\\?["']\s{0,4}(?:=|:)\s{0,4}(?:\\?["'])?|\s{0,4}(?:=|:=|=>|:\s)\s{0,4}(?:\\?["'])?|:\\?["']))` + secretValue),
		accept: notPlain,
	},
}

// secretValue is the secret after a name and its separator: up to what ends a value in a log line, a
// query string, JSON or a connection string. It never begins a token of an earlier redaction.
const secretValue = `([^\s"'\\,;&<>(){}\[\]=:][^\s"'\\,;&<>(){}\[\]]{2,})` //nolint:gosec // the shape of one, not a credential

// literals finds the literals of all patterns.
var literals = newLiteralSet(patterns)

// literalSet looks for many literals at once, in any case: a table tells by three bytes whether one
// can begin at a place.
type literalSet struct {
	fold  [256]byte
	table [1 << 12]uint8 // by hash: 1 + index of the bucket, 0 for none
	lists [][]literal
}

type literal struct {
	text string // folded
	bit  uint32 // of its pattern
}

func literalHash(a, b, c byte) uint { return (uint(a)<<7 ^ uint(b)<<3 ^ uint(c)) & (1<<12 - 1) }

func newLiteralSet(patterns []pattern) *literalSet {
	s := &literalSet{}
	for i := range s.fold {
		s.fold[i] = byte(i)
		if i >= 'A' && i <= 'Z' {
			s.fold[i] = byte(i) + 'a' - 'A'
		}
	}
	for i, p := range patterns {
		for _, l := range p.literals {
			l = strings.ToLower(l)
			h := literalHash(l[0], l[1], l[2])
			if s.table[h] == 0 {
				s.lists = append(s.lists, nil)
				s.table[h] = uint8(len(s.lists))
			}
			k := s.table[h] - 1
			s.lists[k] = append(s.lists[k], literal{l, 1 << i})
		}
	}
	return s
}

// find returns a bit for each pattern of which a literal is in the line.
func (s *literalSet) find(line string) (hits uint32) {
	if len(line) < 3 {
		return 0
	}
	a, b := s.fold[line[0]], s.fold[line[1]]
	for i := 2; i < len(line); i++ {
		c := s.fold[line[i]]
		if k := s.table[literalHash(a, b, c)]; k != 0 {
			for _, l := range s.lists[k-1] {
				if hits&l.bit == 0 && s.hasPrefix(line[i-2:], l.text) {
					hits |= l.bit
				}
			}
		}
		a, b = b, c
	}
	return hits
}

func (s *literalSet) hasPrefix(line, folded string) bool {
	if len(line) < len(folded) {
		return false
	}
	for i := range len(folded) {
		if s.fold[line[i]] != folded[i] {
			return false
		}
	}
	return true
}

// looksRandom reports whether a word is more likely a credential than prose: it has a digit, or ends
// in padding, or mixes cases.
func looksRandom(s string) bool {
	return strings.ContainsAny(s, "0123456789=") || mixed(s)
}

// mixed reports whether a word has lower-case and upper-case letters after its first, and a digit, or
// is long and unbroken.
func mixed(s string) bool {
	upper, lower, digit := false, false, false
	for i, c := range s {
		upper = upper || i > 3 && c >= 'A' && c <= 'Z'
		lower = lower || c >= 'a' && c <= 'z'
		digit = digit || c >= '0' && c <= '9'
	}
	return upper && lower || digit && !strings.Contains(s[3:], "-")
}

// notPlain rejects what follows "token:" in prose and in settings, where nothing is secret.
func notPlain(s string) bool {
	switch strings.ToLower(strings.TrimRight(s, ".")) {
	case "true", "false", "null", "nil", "none", "empty", "missing", "invalid", "expired", "required", "unexpected", "not", "must", "the", "unauthorized", "failed", "cannot", "unable", "error":
		return false
	}
	return !strings.HasPrefix(s, "$(") && !strings.HasPrefix(s, "$")
}

// secretName reports whether the name of an environment variable or annotation says that its value is
// secret: one of its words is, and its last word does not say that it is something about a secret.
func secretName(name string) bool {
	words := strings.FieldsFunc(splitCamel(name), func(c rune) bool { return c == '_' || c == '-' || c == '.' || c == '/' })
	if len(words) == 0 {
		return false
	}
	switch strings.ToUpper(words[len(words)-1]) {
	case "FILE", "PATH", "NAME", "URL", "URI", "HOST", "PORT", "ENDPOINT", "DIR", "TTL", "EXPIRY", "ENABLED", "TYPE", "ISSUER", "REF", "LENGTH", "SECONDS", "MINUTES", "HOURS", "COUNT", "LIMIT", "ALGORITHM", "MODE", "REGION", "VERSION":
		return false
	}
	for _, w := range words {
		switch strings.ToUpper(w) {
		case "PASSWORD", "PASSWD", "PASS", "PASSPHRASE", "PWD", "SECRET", "TOKEN", "KEY", "APIKEY", "CREDENTIAL", "CREDENTIALS", "CREDS", "AUTH", "DSN", "SALT", "SIGNATURE", "COOKIE", "JWT":
			return true
		}
	}
	return false
}

// splitCamel puts a break where a lower-case letter meets an upper-case one.
func splitCamel(s string) string {
	var b strings.Builder
	last := ' '
	for _, c := range s {
		if last >= 'a' && last <= 'z' && c >= 'A' && c <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(c)
		last = c
	}
	return b.String()
}
