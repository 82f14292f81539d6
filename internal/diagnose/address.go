package diagnose

import (
	"strconv"
	"strings"
)

// address is a host, and a port where one is said, that some text names.
type address struct {
	host string
	port int64 // 0 when none is said
	// sure says that the text can be read in no other way: it is a URL, host:port, or a name that ends as
	// the cluster's names do. A bare word is an address only if a Service has that name.
	sure bool
}

// maxAddresses bounds what is read out of one text.
const maxAddresses = 64

// addressesIn returns the addresses that a text names, in its order: those of URLs, host:port,
// connection strings (host=db port=5432), and of commands that wait for a port (nc -z db 5432).
func addressesIn(text string) []address {
	if len(text) > 64<<10 {
		text = text[:64<<10]
	}
	tokens := strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`,;"'()=|&<>{}$`+"`", r) })
	var out []address
	for i, token := range tokens {
		a, ok := parseAddress(token)
		if !ok {
			continue
		}
		for j := i + 1; a.port == 0 && !strings.Contains(token, "://") && j < len(tokens) && j <= i+2; j++ {
			if n := portNumber(tokens[j]); n > 0 {
				a.port = n
				break
			}
		}
		if out = append(out, a); len(out) == maxAddresses {
			break
		}
	}
	return out
}

func parseAddress(token string) (address, bool) {
	var a address
	if rest, ok := strings.CutPrefix(token, "/dev/tcp/"); ok {
		host, p, _ := strings.Cut(rest, "/")
		a = address{host, portNumber(p), true}
		return a, isHost(a.host)
	}
	if _, rest, ok := strings.Cut(token, "://"); ok {
		a.sure, token = true, rest
	}
	token, _, _ = strings.Cut(token, "/")
	token, _, _ = strings.Cut(token, "?")
	if i := strings.LastIndexByte(token, '@'); i >= 0 {
		token = token[i+1:]
	}
	host, p, hasPort := strings.Cut(strings.TrimRight(token, ":."), ":")
	if hasPort {
		if a.port = portNumber(p); a.port == 0 {
			return address{}, false
		}
		a.sure = true
	}
	a.host = strings.ToLower(host)
	if strings.HasSuffix(a.host, ".svc") || strings.Contains(a.host, ".svc.") {
		a.sure = true
	}
	return a, isHost(a.host)
}

// portNumber reads a port; 0 when the text is none.
func portNumber(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 || n > 65535 || s[0] == '+' {
		return 0
	}
	return n
}

// isHost reports whether a word can be a host's name or IPv4 address, other than the Pod's own.
func isHost(s string) bool {
	if s == "" || len(s) > 253 || s == "localhost" || s == "0.0.0.0" || strings.HasPrefix(s, "127.") {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c != '-' && c != '.' && !isWordByte(c) || c >= 'A' && c <= 'Z' {
			return false
		}
	}
	return isWordByte(s[0]) && isWordByte(s[len(s)-1]) && !isNumber(s)
}

// isWordByte reports whether a byte is an ASCII letter or digit.
func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// hasWord reports whether the text holds the word, not as part of a longer name.
func hasWord(text, word string) bool {
	for at := 0; word != ""; {
		i := strings.Index(text[at:], word)
		if i < 0 {
			return false
		}
		start, end := at+i, at+i+len(word)
		inName := func(c byte) bool { return isWordByte(c) || c == '-' || c == '_' }
		if (start == 0 || !inName(text[start-1])) && (end == len(text) || !inName(text[end])) {
			return true
		}
		at = start + 1
	}
	return false
}
