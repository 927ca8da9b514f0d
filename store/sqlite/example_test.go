package sqlite_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/nubecula/cloud/store"
	"github.com/nubecula/cloud/store/sqlite"
)

func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	key, err := store.KeyFile(filepath.Join(dir, "key"))
	if err != nil {
		log.Fatal(err)
	}
	for range 2 { // the second time it is all still there
		db, err := sqlite.Open(filepath.Join(dir, "cloud.db"), nil)
		if err != nil {
			log.Fatal(err)
		}
		s, err := store.New(db, store.Options{Key: key})
		if err != nil {
			log.Fatal(err)
		}
		err = s.Update(context.Background(), func(tx *store.Tx) error {
			v, err := things.Get(tx, "greeting")
			if err == nil {
				fmt.Println("found:", v.Text)
				return nil
			}
			return things.Put(tx, &thing{ID: "greeting", Text: "hello"})
		})
		fmt.Println(err)
		s.Close()
	}
	// Output:
	// <nil>
	// found: hello
	// <nil>
}
