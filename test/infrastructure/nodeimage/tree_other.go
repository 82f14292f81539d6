//go:build !linux

package nodeimage

import "errors"

func tree(string, string) (layer, error) {
	return nil, errors.New("read a file system's tree: only on Linux")
}
