package fileimage_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nubecula/cloud/image/fileimage"
	"github.com/nubecula/cloud/image/imagedriver"
	"github.com/nubecula/cloud/image/imagetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	imagetest.Run(t, imagetest.Harness{Located: true, New: func(t *testing.T) imagetest.Backend {
		dir := t.TempDir()
		return imagetest.Backend{
			Open: func(t *testing.T) imagedriver.Store {
				s, err := fileimage.New(dir)
				require.NoError(t, err)
				return s
			},
			Tear: func(t *testing.T, id string, data []byte) {
				require.NoError(t, os.WriteFile(filepath.Join(dir, id+".0123.part"), data, 0o644))
			},
		}
	}})
}
