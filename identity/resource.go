package identity

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
)

// ListOptions select what every list can select. The zero value selects all.
type ListOptions struct {
	Name   string       // exactly; "" means any
	Names  []TextFilter // all must match
	Marker string       // id of the last one of the page before; Invalid when there is none
	Limit  int          // 0 means all
}

// TextFilter compares a text: contains, startswith, endswith, or the same with i in front, which ignores case.
type TextFilter struct {
	Op    string
	Value string
}

// Valid reports whether Op is known.
func (f TextFilter) Valid() bool {
	switch strings.TrimPrefix(f.Op, "i") {
	case "contains", "startswith", "endswith":
		return true
	}
	return false
}

func (f TextFilter) match(text string) bool {
	op, value := f.Op, f.Value
	if rest, ok := strings.CutPrefix(op, "i"); ok {
		op, value, text = rest, strings.ToLower(value), strings.ToLower(text)
	}
	switch op {
	case "contains":
		return strings.Contains(text, value)
	case "startswith":
		return strings.HasPrefix(text, value)
	case "endswith":
		return strings.HasSuffix(text, value)
	}
	return false
}

// Match reports whether a name is selected.
func (o ListOptions) Match(name string) bool {
	for _, f := range o.Names {
		if !f.match(name) {
			return false
		}
	}
	return o.Name == "" || o.Name == name
}

// list returns a page of a collection in the order of an index.
func list[T any](ctx context.Context, s *Service, c *store.Collection[T], o ListOptions, action string, q store.Query[T]) ([]*T, error) {
	return listOf(ctx, s, c, o, action, Target{}, q)
}

func listOf[T any](ctx context.Context, s *Service, c *store.Collection[T], o ListOptions, action string, t Target, q store.Query[T]) ([]*T, error) {
	var out []*T
	err := s.view(ctx, func(tx *store.Tx) (err error) {
		if err := s.allow(tx, action, t); err != nil {
			return err
		}
		if o.Marker != "" {
			if q.After, err = c.Get(tx, o.Marker); err != nil {
				if fault.Is(err, fault.NotFound) {
					err = fault.InvalidField("marker", o.Marker, "there is no "+cmp.Or(t.Kind, c.Label())+" with this id")
				}
				return err
			}
		}
		q.Limit = o.Limit
		out, err = c.List(tx, q)
		return err
	})
	return out, err
}

// show returns one document that the caller may see.
func show[T any](ctx context.Context, s *Service, c *store.Collection[T], id, action string, target func(*T) Target) (*T, error) {
	var v *T
	err := s.view(ctx, func(tx *store.Tx) (err error) {
		if v, err = c.Get(tx, id); err != nil {
			return err
		}
		return s.allow(tx, action, target(v))
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// modify changes one document.
func modify[T any](ctx context.Context, s *Service, c *store.Collection[T], id, action string, target func(*T) Target, change func(*store.Tx, *T) error) (*T, error) {
	var v *T
	err := s.update(ctx, func(tx *store.Tx) (err error) {
		if v, err = c.Get(tx, id); err != nil {
			return err
		}
		if err := s.allow(tx, action, target(v)); err != nil {
			return err
		}
		if err := change(tx, v); err != nil {
			return err
		}
		s.emit(tx, target(v).Kind, "updated", id)
		return about(target(v).Kind, c.Put(tx, v))
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

// about names the kind of the thing in an error of the store, where domains are projects.
func about(kind string, err error) error {
	var f *fault.Error
	if errors.As(err, &f) && f.Kind == projects.Label() {
		return f.About(kind, f.ID)
	}
	return err
}

// remove deletes one document after before has dealt with what refers to it.
func remove[T any](ctx context.Context, s *Service, c *store.Collection[T], id, action string, target func(*T) Target, before func(*store.Tx, *T) error) error {
	return s.update(ctx, func(tx *store.Tx) error {
		v, err := c.Get(tx, id)
		if err != nil {
			return err
		}
		if err := s.allow(tx, action, target(v)); err != nil {
			return err
		}
		if err := before(tx, v); err != nil {
			return err
		}
		s.emit(tx, target(v).Kind, "deleted", id)
		return c.Delete(tx, id)
	})
}

// must turns a missing reference in a request into Invalid.
func must[T any](tx *store.Tx, c *store.Collection[T], field, id string) (*T, error) {
	v, err := c.Get(tx, id)
	if fault.Is(err, fault.NotFound) {
		return nil, fault.InvalidField(field, id, "there is no such "+c.Label())
	}
	return v, err
}

// homeDomain is where a new thing goes when the request does not say.
func (s *Service) homeDomain(given string) string {
	if given != "" || s.who == nil {
		return given
	}
	for _, id := range []string{s.who.DomainID, s.who.ProjectDomainID, s.who.UserDomainID} {
		if id != "" {
			return id
		}
	}
	return DefaultDomainID
}

// domain returns a domain that a request refers to.
func (c *core) domain(tx *store.Tx, id string) (*Project, error) {
	d, err := projects.Get(tx, id)
	if err == nil && !d.IsDomain || fault.Is(err, fault.NotFound) {
		return nil, fault.InvalidField("domain_id", id, "there is no such domain")
	}
	return d, err
}
