package store_test

import (
	"context"
	"fmt"
	"log"

	"github.com/nubecula/cloud/event"
	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/memory"
)

type Book struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Author string `json:"author"`
	Year   int    `json:"year"`
}

var books = store.Define(store.Spec[Book]{
	Kind: "book", Version: 1, ID: func(b *Book) string { return b.ID },
	Indexes: []store.Index[Book]{
		{Name: "title", Unique: true, Keys: func(b *Book) []store.Tuple { return []store.Tuple{{b.Title}} }},
		{Name: "author", Keys: func(b *Book) []store.Tuple { return []store.Tuple{{b.Author, b.Year}} }},
	},
})

func Example() {
	ctx := context.Background()
	s, err := store.New(memory.New(nil), store.Options{Key: store.NewKey()})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	if err := s.Prepare(ctx, books); err != nil {
		log.Fatal(err)
	}

	// The books and the event about them are one transaction.
	err = s.Update(ctx, func(tx *store.Tx) error {
		for _, b := range []Book{{"1", "Emma", "Austen", 1815}, {"2", "Persuasion", "Austen", 1817}, {"3", "Middlemarch", "Eliot", 1871}} {
			if err := books.Insert(tx, &b); err != nil {
				return err
			}
		}
		tx.Emit(event.Event{Type: "book.delivery"})
		return nil
	})
	fmt.Println(err)

	err = s.Update(ctx, func(tx *store.Tx) error { return books.Insert(tx, &Book{ID: "4", Title: "Emma"}) })
	fmt.Println(fault.CodeOf(err), "-", err)

	err = s.View(ctx, func(tx *store.Tx) error {
		for b, err := range books.Each(tx, store.Query[Book]{Index: "author", Prefix: store.Tuple{"Austen"}, Reverse: true}) {
			if err != nil {
				return err
			}
			fmt.Println(b.Year, b.Title)
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// <nil>
	// exists - book 1: title: has the same title already
	// 1817 Persuasion
	// 1815 Emma
	// <nil>
}

func ExampleStore_Update_joined() {
	ctx := context.Background()
	s, err := store.New(memory.New(nil), store.Options{Key: store.NewKey()})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	// A function that makes its own Update becomes a part of the one around it.
	add := func(ctx context.Context, b *Book) error {
		return s.Update(ctx, func(tx *store.Tx) error { return books.Insert(tx, b) })
	}
	err = s.Update(ctx, func(tx *store.Tx) error {
		if err := add(tx.Context(), &Book{ID: "1", Title: "Emma"}); err != nil {
			return err
		}
		return fault.New(fault.Conflict, "the shelf is full")
	})
	fmt.Println(err)
	s.View(ctx, func(tx *store.Tx) error {
		_, err := books.Get(tx, "1")
		fmt.Println(err)
		return nil
	})
	// Output:
	// the shelf is full
	// book 1: could not be found
}

func ExampleStore_Events() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := store.New(memory.New(nil), store.Options{Key: store.NewKey()})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	for _, kind := range []string{"lent", "returned"} {
		s.Update(ctx, func(tx *store.Tx) error { tx.Emit(event.Event{Type: "book." + kind, ID: "1"}); return nil })
	}
	cursor := int64(0) // kept by the reader
	for e, err := range event.Subscribe(ctx, s, cursor) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Seq, e.Type)
		if cursor = e.Seq; cursor == 2 {
			break
		}
	}
	// Output:
	// 1 book.lent
	// 2 book.returned
}
