package observe

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes/scheme"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
)

// readLog reads the tail of one container's log.
func (r *reader) readLog(l diagnose.LogNeed) {
	ctx, cancel := context.WithTimeout(r.ctx, r.limits.CallTimeout)
	defer cancel()
	r.calls.Add(1)
	tail := int64(r.limits.LogLines)
	which := "log"
	if l.Previous {
		which = "previous log"
	}
	gap := diagnose.Gap{
		Subject: incident.Ref{Kind: "Log", Namespace: l.Pod.Namespace, Name: l.Pod.Name},
		What:    fmt.Sprintf("%s of container %s in %s", which, l.Container, l.Pod),
	}
	stream, err := r.typed[corev1.SchemeGroupVersion].Get().Namespace(l.Pod.Namespace).Resource("pods").Name(l.Pod.Name).SubResource("log").
		VersionedParams(&corev1.PodLogOptions{Container: l.Container, Previous: l.Previous, TailLines: &tail}, scheme.ParameterCodec).Stream(ctx)
	if err != nil {
		r.logFailed(gap, err)
		return
	}
	defer stream.Close()
	lines, truncated, err := tailLines(stream, r.limits.LogLines, r.limits.LogBytes)
	if err != nil && len(lines) == 0 {
		r.logFailed(gap, err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs = append(r.logs, diagnose.Log{Pod: l.Pod, Container: l.Container, Previous: l.Previous, Lines: lines, Truncated: truncated})
}

// logFailed tells a log that is no longer there from one that could not be read.
func (r *reader) logFailed(gap diagnose.Gap, err error) {
	if apierrors.IsBadRequest(err) && strings.Contains(err.Error(), "previous terminated container") {
		gap.Kind, gap.Reason = incident.GapExpired, "the node no longer keeps it"
		r.gap(gap)
		return
	}
	r.failed(gap, err)
}

// tailLines returns the last lines of a stream, at most so many and so many bytes of them. A line that
// is itself longer than that is cut.
func tailLines(stream io.Reader, maxLines, maxBytes int) (lines []string, truncated bool, err error) {
	in := bufio.NewReaderSize(stream, 4096)
	size := 0
	for {
		line, long, e := readLine(in, maxBytes)
		if e != nil && line == "" {
			if !errors.Is(e, io.EOF) {
				err = e
			}
			return lines, truncated, err
		}
		truncated = truncated || long
		lines = append(lines, line)
		size += len(line)
		for len(lines) > maxLines || size > maxBytes && len(lines) > 1 {
			size -= len(lines[0])
			lines, truncated = lines[1:], true
		}
	}
}

// readLine reads up to the next line end and keeps at most limit bytes of it.
func readLine(in *bufio.Reader, limit int) (line string, cut bool, err error) {
	var b strings.Builder
	for {
		chunk, err := in.ReadSlice('\n')
		if room := limit - b.Len(); room < len(chunk) {
			chunk, cut = chunk[:room], true
		}
		b.Write(chunk)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return strings.TrimRight(strings.ToValidUTF8(b.String(), "\uFFFD"), "\r\n"), cut, err
	}
}
