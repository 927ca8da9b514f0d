package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"slices"
	"time"
)

// upload makes an image and puts its data there.
func (w *worker) upload(ctx context.Context) error {
	o := object{kind: "image", name: w.name(), state: "queued"}
	a, ok, err := w.change(ctx, "POST", "/image/v2/images", encode(fields{"name": o.name, "disk_format": "raw", "container_format": "bare"}), http.StatusCreated)
	if err != nil || !ok {
		return err
	}
	var body struct{ ID string }
	if err := a.into(&body); err != nil {
		w.problem("image %s: %v", o.name, err)
		return nil
	}
	o.id = body.ID
	w.expect(o)
	data := bytes.Repeat([]byte(o.name), imageBytes/len(o.name))
	key := rand.Text() // one for all attempts: the upload of a frozen replica may succeed after another has refused it
	for {
		a, err := w.call(ctx, "PUT", "/image/v2/images/"+o.id+"/file", key, data)
		if err != nil {
			return err
		}
		if a.status == http.StatusNoContent {
			break
		}
		if a.status != http.StatusConflict { // an upload that was cut off is not yet undone
			w.problem("upload of image %s (%s): %s", o.id, o.name, a)
			return nil
		}
		w.count("uploads refused while one that was cut off is undone")
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	sum := md5.Sum(data)
	o.state, o.sum = "active", hex.EncodeToString(sum[:])
	w.expect(o)
	w.count("images uploaded")
	w.images = append(w.images, o)
	return nil
}

func (w *worker) removeImage(ctx context.Context) error {
	i := w.random.IntN(len(w.images))
	o := w.images[i]
	w.images = slices.Delete(w.images, i, i+1)
	_, ok, err := w.change(ctx, "DELETE", "/image/v2/images/"+o.id, nil, http.StatusNoContent)
	if err != nil || !ok {
		return err
	}
	w.expect(o.gone())
	w.count("images deleted")
	return nil
}
