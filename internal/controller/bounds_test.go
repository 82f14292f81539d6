package controller

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestText(t *testing.T) {
	for name, tt := range map[string]struct {
		in    string
		limit int
		want  string
	}{
		"short":          {"abc", 3, "abc"},
		"cut":            {"abcd", 3, "ab…"},
		"cut in runes":   {"äöüß", 3, "äö…"},
		"runes that fit": {"äöü", 3, "äöü"},
		"invalid":        {"a\xffb", 9, "a\uFFFDb"},
		"control":        {"a\x00b\x1bc\nd\te\x7f\u0085", 20, "a\uFFFDb\uFFFDc\nd\te\uFFFD\uFFFD"},
		"empty":          {"", 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := text(tt.in, tt.limit); got != tt.want {
				t.Errorf("text(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
			}
		})
	}
}

func TestTexts(t *testing.T) {
	if got := texts(nil, 3, 10); got != nil {
		t.Errorf("texts of nothing = %q, want nil", got)
	}
	got := texts([]string{"a", "b", "c", "d"}, 3, 20)
	if diff := cmp.Diff([]string{"a", "b", "… and 2 more"}, got); diff != "" {
		t.Errorf("texts differ (-want +got):\n%s", diff)
	}
}

func FuzzText(f *testing.F) {
	f.Add("plain", 10)
	f.Add("\xff\x00<😀", 2)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 1 + (limit&0xfff+0x1000)&0xfff
		got := text(s, limit)
		if !utf8.ValidString(got) || strings.ContainsRune(got, 0) || utf8.RuneCountInString(got) > limit {
			t.Errorf("text(%q, %d) = %q", s, limit, got)
		}
		if again := text(got, limit); again != got {
			t.Errorf("text is not stable: %q became %q", got, again)
		}
	})
}
