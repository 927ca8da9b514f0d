package store

import (
	"context"
	"encoding/json"
	"time"
)

// Tombstone is what is kept of a deleted document for the retention time.
type Tombstone struct {
	Kind      string          `json:"kind"`
	ID        string          `json:"id"`
	Version   int             `json:"version"`
	DeletedAt time.Time       `json:"deleted_at"`
	Body      json.RawMessage `json:"body"`
}

var tombstones = Define(Spec[Tombstone]{
	Kind: "tombstone", Version: 1,
	ID: func(t *Tombstone) string { return t.Kind + "/" + t.ID },
	Indexes: []Index[Tombstone]{
		{Name: "deleted_at", Keys: func(t *Tombstone) []Tuple { return []Tuple{{t.DeletedAt}} }},
		{Name: "kind", Keys: func(t *Tombstone) []Tuple { return []Tuple{{t.Kind, t.DeletedAt}} }},
	},
})

// Deleted is a document that is no more.
type Deleted[T any] struct {
	Doc       *T
	DeletedAt time.Time
}

// GetDeleted returns the last state of a deleted document; NotFound when it was never there, or its time is over.
func (c *Collection[T]) GetDeleted(tx *Tx, id string) (*Deleted[T], error) {
	t, err := tombstones.Get(tx, c.spec.Kind+"/"+id)
	if err != nil {
		return nil, err
	}
	return c.deleted(t)
}

// ListDeleted returns the documents deleted at or after since, oldest deletion first.
func (c *Collection[T]) ListDeleted(tx *Tx, since time.Time) ([]*Deleted[T], error) {
	var out []*Deleted[T]
	for t, err := range tombstones.Each(tx, Query[Tombstone]{Index: "kind", Prefix: Tuple{c.spec.Kind}, From: Tuple{since}}) {
		if err != nil {
			return nil, err
		}
		d, err := c.deleted(t)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

func (c *Collection[T]) deleted(t *Tombstone) (*Deleted[T], error) {
	v, err := c.decode(Doc{Kind: t.Kind, ID: t.ID, Version: t.Version, Body: t.Body})
	if err != nil {
		return nil, err
	}
	return &Deleted[T]{v, t.DeletedAt}, nil
}

// pruneTombstones drops old tombstones, a bounded number in each transaction.
func (s *Store) pruneTombstones(ctx context.Context, before time.Time) error {
	for {
		n := 0
		err := s.Update(ctx, func(tx *Tx) error {
			old, err := tombstones.List(tx, Query[Tombstone]{Index: "deleted_at", To: Tuple{before}, Limit: 256})
			n = len(old)
			for _, t := range old {
				if err == nil {
					err = tombstones.Delete(tx, t.Kind+"/"+t.ID)
				}
			}
			return err
		})
		if err != nil || n < 256 {
			return err
		}
	}
}
