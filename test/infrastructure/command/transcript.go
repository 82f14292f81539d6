package command

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
)

// feed copies a command's input to it. An error of the command's side means that it has ended or wants no more, which is
// its right; one of the reader's side ends the command, which otherwise would take a part for the whole.
func feed(stdin io.WriteCloser, from io.Reader, touch func(), end context.CancelCauseFunc) {
	source := &touchingReader{Reader: from, touch: touch}
	_, _ = io.Copy(stdin, source)
	if source.err != nil {
		end(&inputError{source.err}) // and the pipe stays open: its end would say that the input is whole
		return
	}
	_ = stdin.Close()
}

// touchingReader tells that something was read, and remembers the error that ended it.
type touchingReader struct {
	io.Reader
	touch func()
	err   error
}

func (r *touchingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.touch()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

const (
	tailSize = 64 << 10
	lineSize = 8 << 10 // a longer line is logged in parts
)

// transcript keeps the end of both streams of a command, in the order in which they came, and logs them by lines.
type transcript struct {
	log   io.Writer
	touch func()

	mu      sync.Mutex
	end     []byte
	streams []*stream
}

// stream is one of the two, with the line that has not ended yet.
type stream struct {
	t    *transcript
	line []byte
}

func (t *transcript) stream() *stream {
	s := &stream{t: t}
	t.streams = append(t.streams, s)
	return s
}

// Write never fails: a log that cannot be written is no reason to stop the command.
func (s *stream) Write(p []byte) (int, error) {
	s.t.touch()
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	s.line = append(s.line, p...)
	whole := bytes.LastIndexByte(s.line, '\n') + 1
	if whole == 0 && len(s.line) > lineSize {
		whole = len(s.line)
	}
	if whole > 0 {
		s.t.keep(s.line[:whole])
		s.line = append(s.line[:0], s.line[whole:]...)
	}
	return len(p), nil
}

// keep logs and remembers p; the caller holds the lock.
func (t *transcript) keep(p []byte) {
	_, _ = t.log.Write(p)
	t.end = append(t.end, p...)
	if len(t.end) > 2*tailSize {
		t.end = append(t.end[:0], t.end[len(t.end)-tailSize:]...)
	}
}

// flush keeps the lines that were not ended.
func (t *transcript) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.streams {
		if len(s.line) > 0 {
			t.keep(append(s.line, '\n'))
			s.line = nil
		}
	}
}

func (t *transcript) tail() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.end) > tailSize {
		return string(t.end[len(t.end)-tailSize:])
	}
	return string(t.end)
}
