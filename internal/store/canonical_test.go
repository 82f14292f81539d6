package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/gowebpki/jcs"
	"pgregory.net/rapid"
)

func TestAppendCanonical(t *testing.T) {
	tests := []struct {
		name, in, want string
		err            error
	}{
		{name: "members in order of UTF-16", in: `{"b":1,"a":2,"\ufb33":3,"😀":4,"€":5}`, want: `{"a":2,"b":1,"€":5,"😀":4,"` + "\ufb33" + `":3}`},
		{name: "nested and spaced", in: " { \"z\" : [ 1 , { \"y\" : null , \"x\" : true } ] , \"a\" : { } } ", want: `{"a":{},"z":[1,{"x":true,"y":null}]}`},
		{name: "numbers", in: `[1.0,-0,0.0,1e21,1e20,0.000001,1e-7,333333333.33333329,4.50,2e-3,9007199254740993,1E400e]`, err: errJSONNumber},
		{name: "numbers of ECMAScript", in: `[1.0,-0,1e21,1e20,0.000001,1e-7,333333333.33333329,4.50,-2e-3,9007199254740993]`, want: `[1,0,1e+21,100000000000000000000,0.000001,1e-7,333333333.3333333,4.5,-0.002,9007199254740992]`},
		{name: "strings", in: `"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/\u007f\u2028"`, want: "\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\u007f\u2028\""},
		{name: "surrogate pair", in: `"\ud83d\ude00"`, want: `"😀"`},
		{name: "lone surrogates", in: `["\ud83d","\ude00x","\ud83d\u0041"]`, want: "[\"\ufffd\",\"\ufffdx\",\"\ufffdA\"]"},
		{name: "invalid UTF-8", in: "\"a\xffb\"", want: "\"a\ufffdb\""},
		{name: "repeated member", in: `{"a":1,"b":2,"\u0061":3}`, err: errJSONDuplicate},
		{name: "repeated member side by side", in: `{"a":1,"a":1}`, err: errJSONDuplicate},
		{name: "too large a number", in: `1e309`, err: errJSONNumber},
		{name: "two values", in: `{} {}`, err: errJSONTrailing},
		{name: "nothing", in: ` `, err: errJSONSyntax},
		{name: "leading zero", in: `01`, err: errJSONSyntax},
		{name: "bare minus", in: `-`, err: errJSONSyntax},
		{name: "cut short", in: `{"a":"b`, err: errJSONSyntax},
		{name: "cut in an escape", in: `"\u12`, err: errJSONSyntax},
		{name: "control character", in: "\"a\nb\"", err: errJSONSyntax},
		{name: "trailing comma", in: `[1,]`, err: errJSONSyntax},
		{name: "too deep", in: string(bytes.Repeat([]byte("["), 201)) + string(bytes.Repeat([]byte("]"), 201)), err: errJSONDepth},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := appendCanonical([]byte("x"), []byte(tt.in))
			if !errors.Is(err, tt.err) {
				t.Fatalf("appendCanonical(%s) error = %v, want %v", tt.in, err, tt.err)
			}
			if err == nil && string(got) != "x"+tt.want {
				t.Errorf("appendCanonical(%s)\n got %s\nwant %s", tt.in, got[1:], tt.want)
			}
		})
	}
}

// FuzzCanonical holds the encoder to an independent one: what jcs accepts comes out the same, and
// what comes out is canonical by its measure too.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{
		`{"b":[1,2.5e-7,{"z":null,"a":"\u00e9\ud83d\ude00"}],"a":"\n\"\\"}`, `{"a":1,"a":2}`, `"\ud800"`, `-0.0`, `1e400`, ` [ ] `,
		"{\"\uffff\":1,\"\U00010000\":2,\"\":3}", `123456789012345678901`, "\"\xc3\x28\"", `{"a":{"b":{"c":[[[]]]}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := appendCanonical(nil, in)
		want, jcsErr := jcs.Transform(append([]byte{}, in...))
		if err != nil {
			if jcsErr == nil && !errors.Is(err, errJSONDepth) && utf8.Valid(in) && json.Valid(in) {
				t.Fatalf("appendCanonical(%q) = %v, but jcs accepts it", in, err)
			}
			return
		}
		if !json.Valid(in) {
			t.Fatalf("appendCanonical(%q) accepts what is not JSON", in)
		}
		if jcsErr == nil && utf8.Valid(in) && !bytes.Equal(got, want) {
			t.Fatalf("appendCanonical(%q)\n got %s\nwant %s", in, got, want)
		}
		again, err := jcs.Transform(append([]byte{}, got...))
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("appendCanonical(%q) = %s, which jcs makes %s, %v", in, got, again, err)
		}
	})
}

func TestAppendCanonicalAgreesWithJCS(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, err := json.Marshal(jsonValue(3).Draw(t, "value"))
		if err != nil {
			t.Fatal(err)
		}
		want, err := jcs.Transform(in)
		if err != nil {
			t.Skip("jcs refuses it")
		}
		got, err := appendCanonical(nil, in)
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("appendCanonical(%s)\n got %s, %v\nwant %s", in, got, err, want)
		}
	})
}

// jsonValue generates JSON values nested at most depth levels.
func jsonValue(depth int) *rapid.Generator[any] {
	scalars := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Bool().AsAny(),
		rapid.Int64().AsAny(),
		rapid.Float64Range(-1e300, 1e300).AsAny(),
		rapid.String().AsAny(),
	)
	if depth == 0 {
		return scalars
	}
	return rapid.OneOf(
		scalars,
		rapid.SliceOfN(jsonValue(depth-1), 0, 5).AsAny(),
		rapid.MapOfN(rapid.String(), jsonValue(depth-1), 0, 5).AsAny(),
	)
}

func BenchmarkCanonical(b *testing.B) {
	in := []byte(`{"phase":"Completed","approval_required":true,"approval_reason":"Production environment requires approval","degraded_mode":false,"warnings_count":2,"confidence":0.92,"workflow_id":"9b1f4c1e-2f0f-4a57-8f5e-1f7a3c1f0b11","target_in_owner_chain":true}`)
	b.Run("own", func(b *testing.B) {
		b.SetBytes(int64(len(in)))
		var dst []byte
		for b.Loop() {
			dst, _ = appendCanonical(dst[:0], in)
		}
	})
	b.Run("jcs", func(b *testing.B) {
		b.SetBytes(int64(len(in)))
		for b.Loop() {
			_, _ = jcs.Transform(in)
		}
	})
}
