package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
)

// Object is a pointer to a type of object.
type Object[T any] interface {
	*T
	client.Object
}

// AwaitAll watches the objects that the options select until ok returns "", and returns them in the
// order of their names. ok sees every state that the watch delivers; what it returns last is in the
// error.
func AwaitAll[T any, P Object[T]](ctx context.Context, s *System, what string, ok func([]P) string, opts ...client.ListOption) ([]P, error) {
	var why string
	for {
		items, reason, err := follow[T, P](ctx, s, ok, opts...)
		if reason != "" {
			why = reason
		}
		switch {
		case err == nil && reason == "":
			return items, nil
		case ctx.Err() != nil:
			return items, fmt.Errorf("%s: %s (%w)", what, why, context.Cause(ctx))
		case err != nil && !errors.Is(err, errEnded):
			return items, fmt.Errorf("%s: %w", what, err)
		}
	}
}

// errEnded says that a watch ended, as watches do, before what was waited for.
var errEnded = errors.New("the watch ended")

// follow lists and watches once.
func follow[T any, P Object[T]](ctx context.Context, s *System, ok func([]P) string, opts ...client.ListOption) ([]P, string, error) {
	gvk, err := apiutil.GVKForObject(P(new(T)), s.Scheme())
	if err != nil {
		return nil, "", err
	}
	gvk.Kind += "List"
	fresh, err := s.Scheme().New(gvk)
	if err != nil {
		return nil, "", err
	}
	list := fresh.(client.ObjectList)
	if err := s.List(ctx, list, opts...); err != nil {
		return nil, err.Error(), retryable(ctx, err)
	}
	known := map[string]P{}
	err = meta.EachListItem(list, func(o runtime.Object) error {
		p := o.(P)
		known[key(p)] = p
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	if reason := ok(sorted[T](known)); reason == "" {
		return sorted[T](known), "", nil
	}
	from := &client.ListOptions{}
	from.ApplyOptions(opts)
	from.Raw = from.AsListOptions()
	from.Raw.ResourceVersion = list.GetResourceVersion()
	w, err := s.Watch(ctx, list, from)
	if err != nil {
		return nil, err.Error(), retryable(ctx, err)
	}
	defer w.Stop()
	reason := "no change seen"
	for event := range w.ResultChan() {
		switch event.Type {
		case watch.Added, watch.Modified:
			p := event.Object.(P)
			known[key(p)] = p
		case watch.Deleted:
			delete(known, key(event.Object.(P)))
		case watch.Error:
			if ctx.Err() == nil { // else it only says so
				reason = apierrors.FromObject(event.Object).Error()
			}
			return nil, reason, errEnded
		default:
			continue
		}
		if reason = ok(sorted[T](known)); reason == "" {
			return sorted[T](known), "", nil
		}
	}
	return sorted[T](known), reason, errEnded
}

// retryable turns an error that passes, such as that of an API server whose node restarts, into
// errEnded, after which the wait goes on.
func retryable(ctx context.Context, err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err) || meta.IsNoMatchError(err) {
		return err
	}
	return errors.Join(errEnded, pause(ctx))
}

func key(o client.Object) string { return o.GetNamespace() + "/" + o.GetName() }

func sorted[T any, P Object[T]](known map[string]P) []P {
	items := make([]P, 0, len(known))
	for _, name := range slices.Sorted(maps.Keys(known)) {
		items = append(items, known[name])
	}
	return items
}

// Await watches one object until ok returns "", and brings o up to date. An object that is not there
// yet is waited for.
func Await[T any, P Object[T]](ctx context.Context, s *System, o P, what string, ok func(P) string) error {
	gvk, err := apiutil.GVKForObject(o, s.Scheme())
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s %s/%s: %s", gvk.Kind, o.GetNamespace(), o.GetName(), what)
	items, err := AwaitAll(ctx, s, name, func(items []P) string {
		if len(items) == 0 {
			return "it does not exist"
		}
		return ok(items[0])
	}, client.InNamespace(o.GetNamespace()), client.MatchingFields{"metadata.name": o.GetName()})
	if len(items) == 1 {
		*o = *items[0]
	}
	return err
}

// AwaitGone watches until an object is not there any more.
func AwaitGone[T any, P Object[T]](ctx context.Context, s *System, o P) error {
	_, err := AwaitAll(ctx, s, fmt.Sprintf("%s/%s gone", o.GetNamespace(), o.GetName()), func(items []P) string {
		if len(items) == 0 || items[0].GetUID() != o.GetUID() && o.GetUID() != "" {
			return ""
		}
		return fmt.Sprintf("it exists, with deletionTimestamp %v and finalizers %v", items[0].GetDeletionTimestamp(), items[0].GetFinalizers())
	}, client.InNamespace(o.GetNamespace()), client.MatchingFields{"metadata.name": o.GetName()})
	return err
}
