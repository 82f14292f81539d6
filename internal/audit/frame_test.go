package audit

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func framesOf(payloads ...string) []byte {
	var buf []byte
	for _, p := range payloads {
		buf = appendFrame(buf, []byte(p))
	}
	return buf
}

func readAll(buf []byte) (payloads []string, f *frames) {
	f = &frames{buf: buf}
	for p := f.next(); p != nil; p = f.next() {
		payloads = append(payloads, string(p))
	}
	return payloads, f
}

func TestFramesStepOverDamage(t *testing.T) {
	a, b, c := framesOf(`{"n":"a"}`), framesOf(`{"n":"b"}`), framesOf(`{"n":"c"}`)
	flipped := bytes.Clone(b)
	flipped[len(flipped)-3] ^= 0x10
	longer := bytes.Clone(b)
	longer[4]++
	concat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

	for _, tt := range []struct {
		name    string
		buf     []byte
		want    []string
		damaged int
		tail    int
	}{
		{name: "empty"},
		{name: "whole", buf: concat(a, b, c), want: []string{"a", "b", "c"}},
		{name: "torn payload", buf: concat(a, b[:len(b)-1]), want: []string{"a"}, tail: len(b) - 1},
		{name: "torn header", buf: concat(a, b[:5]), want: []string{"a"}, tail: 5},
		{name: "zeroes after the end", buf: concat(a, make([]byte, 4096)), want: []string{"a"}, tail: 4096},
		{name: "flipped bit in the middle", buf: concat(a, flipped, c), want: []string{"a", "c"}, damaged: len(b)},
		{name: "wrong length in the middle", buf: concat(a, longer, c), want: []string{"a", "c"}, damaged: len(b)},
		{name: "hole of zeroes", buf: concat(a, make([]byte, 100), c), want: []string{"a", "c"}, damaged: 100},
		{name: "damage first", buf: concat([]byte("garbage"), a), want: []string{"a"}, damaged: 7},
		{name: "magic without a frame", buf: concat(frameMagic, frameMagic, a), want: []string{"a"}, damaged: 8},
		{name: "last one flipped", buf: concat(a, flipped), want: []string{"a"}, tail: len(b)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, f := readAll(tt.buf)
			var want []string
			for _, n := range tt.want {
				want = append(want, fmt.Sprintf(`{"n":%q}`, n))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("records: got %v, want %v", got, want)
			}
			if f.damaged != tt.damaged || len(f.buf)-f.end != tt.tail {
				t.Errorf("damaged %d and tail %d, want %d and %d", f.damaged, len(f.buf)-f.end, tt.damaged, tt.tail)
			}
		})
	}
}

// A text inside an event cannot pose as a record when the record around it is damaged.
func TestFramesIgnoreRecordsInsideText(t *testing.T) {
	e := testEvent("forger", 1)
	e.ResourceID = string(framesOf(`{"event_id":"forged"}`))
	e.ResourceID = strings.ToValidUTF8(e.ResourceID, "?")
	_, payload, err := prepare(e, testTime)
	if err != nil {
		t.Fatal(err)
	}
	buf := framesOf(string(payload))
	buf[4]++ // the length
	if got, _ := readAll(buf); len(got) != 0 {
		t.Errorf("got records %q out of a damaged one", got)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte(`{"a":1}|{"b":2}`), []byte("tail"), uint16(3))
	f.Add([]byte(`x`), framesOf("y", "z"), uint16(0))
	f.Add([]byte(``), append(framesOf("y"), frameMagic...), uint16(20))
	f.Fuzz(func(t *testing.T, records, junk []byte, cut uint16) {
		var want []string
		var buf []byte
		records = bytes.ReplaceAll(records, []byte{0}, nil) // a payload has none, and the magic begins with one
		for r := range bytes.SplitSeq(records, []byte("|")) {
			if len(r) > 0 && len(r) <= maxFrame {
				want = append(want, string(r))
				buf = appendFrame(buf, r)
			}
		}
		// Nothing that comes after a record can take it away.
		damaged := append(bytes.Clone(buf), junk...)
		got, rd := readAll(damaged)
		if len(got) < len(want) {
			t.Fatalf("got %d records, want at least the %d before the damage", len(got), len(want))
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("record %d: got %q, want %q", i, got[i], want[i])
			}
		}
		if rd.end > len(damaged) || rd.damaged > len(damaged) {
			t.Fatalf("end %d, damaged %d of %d bytes", rd.end, rd.damaged, len(damaged))
		}
		// A cut file gives a prefix of the records.
		short, _ := readAll(buf[:min(int(cut), len(buf))])
		for i := range short {
			if short[i] != want[i] {
				t.Fatalf("record %d of the cut file: got %q, want %q", i, short[i], want[i])
			}
		}
	})
}
