package simbackend

import (
	"context"
	"io"
	"net/http"
	"strconv"

	"github.com/nubecula/cloud/fault"
	"github.com/nubecula/cloud/image/imagedriver"
)

func (s *Server) serveImages() {
	s.mux.HandleFunc("POST /image/Put/{id}", func(w http.ResponseWriter, r *http.Request) {
		var size int64
		id := r.PathValue("id")
		err := s.run(r, "image", "Put", id, func(ctx context.Context) (err error) {
			if size, err = s.images.Put(ctx, id, &unframed{r: r.Body}); err == nil {
				s.ledger.count("Put")
			}
			return err
		})
		_, _ = io.Copy(io.Discard, r.Body)
		answer(w, size, err)
	})
	s.mux.HandleFunc("POST /image/Open/{id}", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		var data io.ReadCloser
		offset, err := strconv.ParseInt(r.URL.Query().Get("offset"), 10, 64)
		if err != nil {
			err = fault.New(fault.Invalid, "offset: %w", err)
		} else {
			err = s.run(r, "image", "Open", id, func(ctx context.Context) (err error) {
				data, err = s.images.Open(ctx, id, offset)
				return err
			})
		}
		if err != nil {
			answer(w, nil, err)
			return
		}
		defer data.Close()
		_, _ = io.Copy(w, &framed{ctx: r.Context(), r: data})
	})
	handle(s, "/image/Delete/{id}", func(r *http.Request, _ none) (none, error) {
		id := r.PathValue("id")
		return none{}, s.run(r, "image", "Delete", id, func(ctx context.Context) error { return s.images.Delete(ctx, id) })
	})
	handle(s, "/image/Locate/{id}", func(r *http.Request, _ none) (out imagedriver.Location, err error) {
		id := r.PathValue("id")
		err = s.run(r, "image", "Locate", id, func(ctx context.Context) error {
			out, err = s.images.Locate(ctx, id)
			return err
		})
		return out, err
	})
	handle(s, "/image/Remember", func(r *http.Request, a remember) (newest int64, err error) {
		err = s.run(r, "image", "Remember", a.Cloud, func(ctx context.Context) error {
			if newest, err = s.images.Remember(ctx, a.Cloud, a.Epoch); err == nil && a.Epoch > 0 {
				s.ledger.count("Remember")
			}
			return err
		})
		return newest, err
	})
	handle(s, "/image/Images", func(r *http.Request, _ none) (out []imagedriver.Data, err error) {
		err = s.run(r, "image", "Images", "", func(ctx context.Context) error {
			out, err = s.images.Images(ctx)
			return err
		})
		return out, err
	})
}
