package mcp

import (
	"context"
	"encoding/json"
	"time"

	"kubernaut.ai/kubernaut/internal/diagnose"
	"kubernaut.ai/kubernaut/internal/incident"
	"kubernaut.ai/kubernaut/internal/reason"
)

// The tools of this package.
const (
	analyzeName  = "analyze"
	analyzeSays  = "Read the cluster, or the recording, and name the root cause of what is wrong, with the chain that leads to it, the evidence, and the workflow that would mend it. Nothing is changed."
	evidenceName = "evidence"
	evidenceSays = "The whole records of pieces of evidence, by their ids, each read again from the snapshot."
)

// valid returns arguments as an In, or an error that lists every fault of them.
func valid[In any](ctx context.Context, name string, arguments json.RawMessage) (in In, err error) {
	tool, err := reason.NewTool(name, "", func(_ context.Context, _ *reason.View, got In) (reason.Output, error) {
		in = got
		return reason.Output{}, nil
	})
	if err != nil {
		return in, err
	}
	r, err := reason.NewRegistry(tool)
	if err != nil {
		return in, err
	}
	_, err = r.Call(ctx, nil, name, arguments)
	return in, err
}

func (s *Server) analyze(ctx context.Context, arguments json.RawMessage) (any, error) {
	q, err := valid[Question](ctx, analyzeName, arguments)
	if err != nil {
		return nil, err
	}
	if q.AllNamespaces && (q.Target != "" || q.Namespace != "") {
		return nil, incident.Errorf(incident.KindInvalid, analyzeName, "allNamespaces means everything: leave target and namespace out")
	}
	a, err := s.shelf.read(ctx, q)
	if err != nil {
		return nil, err
	}
	return tell(a)
}

// answer is the result of a tool of the registry.
type answer struct {
	Analysis   string               `json:"analysis"`
	ObservedAt time.Time            `json:"observedAt"`
	Result     json.RawMessage      `json:"result"`
	Suspicious []incident.Suspicion `json:"suspicious,omitempty"`
}

// ask calls a tool of the registry.
func (s *Server) ask(ctx context.Context, name string, arguments json.RawMessage) (any, error) {
	id, namespace, rest, err := split(name, arguments)
	if err != nil {
		return nil, err
	}
	a, err := s.shelf.choose(ctx, id, namespace)
	if err != nil {
		return nil, err
	}
	out, err := s.o.Registry.Call(ctx, a.view, name, rest)
	if err != nil {
		return nil, err
	}
	text, suspicious, err := a.render(out, maxResult)
	if err != nil {
		return nil, err
	}
	return answer{a.id, a.view.Now().ObservedAt(), json.RawMessage(text), suspicious}, nil
}

// split takes the analysis out of a tool's arguments, and looks which namespace they ask for. Whatever else is
// wrong with them is the registry's to say.
func split(name string, arguments json.RawMessage) (id, namespace string, rest json.RawMessage, err error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(arguments, &all); err != nil {
		return "", "", nil, incident.Errorf(incident.KindInvalid, name, "the arguments are no JSON object")
	}
	if v, ok := all[analysisArgument]; ok {
		if json.Unmarshal(v, &id) != nil {
			return "", "", nil, incident.Errorf(incident.KindInvalid, name, "%s is an id such as \"a1\"", analysisArgument)
		}
		delete(all, analysisArgument)
	}
	if v, ok := all["namespace"]; ok && json.Unmarshal(v, &namespace) != nil {
		namespace = ""
	}
	rest, err = json.Marshal(all)
	return id, namespace, rest, err
}

// wanted are the arguments of evidence.
type wanted struct {
	IDs      []string `json:"ids" jsonschema:"at most 50, for example e1"`
	Analysis string   `json:"analysis,omitempty" jsonschema:"id of the analysis that the ids are of; default: the latest"`
}

// records is the result of evidence.
type records struct {
	Analysis string   `json:"analysis"`
	Bundle   string   `json:"bundle"`
	Evidence []record `json:"evidence"`
	Unknown  []string `json:"unknown,omitempty"`
	Omitted  int      `json:"omitted,omitempty"`
}

// record is a piece of evidence. Its sha256 is that of the value as it was read, which holds also where the value
// is shown shortened, or with its hidden characters made visible.
type record struct {
	incident.Evidence
	Object string `json:"object"`
	Holds  bool   `json:"holds"` // it was found again in the snapshot
	AsRead bool   `json:"asRead"`
}

const (
	maxRecords     = 50
	maxRecordValue = 2000 // characters
)

func (s *Server) evidence(ctx context.Context, arguments json.RawMessage) (any, error) {
	in, err := valid[wanted](ctx, evidenceName, arguments)
	if err != nil {
		return nil, err
	}
	if len(in.IDs) == 0 || len(in.IDs) > maxRecords {
		return nil, incident.Errorf(incident.KindInvalid, evidenceName, "give 1 to %d ids, not %d", maxRecords, len(in.IDs))
	}
	a, err := s.shelf.choose(ctx, in.Analysis, "")
	if err != nil {
		return nil, err
	}
	out := records{Analysis: a.id, Bundle: a.reading.Digest, Evidence: []record{}}
	room := maxVerdict - 512
	for _, id := range in.IDs {
		e, ok := a.find(id)
		if !ok {
			out.Unknown = append(out.Unknown, say(id, 40))
			continue
		}
		r := record{Evidence: e, Object: say(e.Ref.String(), 300), Holds: diagnose.Verify(a.view.Now(), []incident.Evidence{e}) == nil}
		r.Value, r.Path = say(e.Value, maxRecordValue), say(e.Path, 600)
		r.AsRead = r.Value == e.Value
		text, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		if room -= len(text) + 1; room < 0 {
			out.Omitted++
			continue
		}
		out.Evidence = append(out.Evidence, r)
	}
	return out, nil
}
