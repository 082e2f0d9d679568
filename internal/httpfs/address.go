package httpfs

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Split parts the path of a slide into its folder and its name in it, which is
// "." for a folder: a path that ends in a slash or in .zarr.
func Split(p string) (folder, name string) {
	if strings.HasSuffix(p, "/") || strings.EqualFold(path.Ext(p), ".zarr") {
		return strings.TrimSuffix(p, "/"), "."
	}
	folder, name = path.Split(p)
	return strings.TrimSuffix(folder, "/"), name
}

// Public returns the folder of s3://BUCKET/KEY or gs://BUCKET/KEY, in a bucket of
// Amazon or Google that anyone may read, and the name of the slide in it.
func Public(address string) (*FS, string, error) {
	scheme, rest, _ := strings.Cut(address, "://")
	host, key, _ := strings.Cut(rest, "/")
	if host == "" || key == "" || strings.ContainsAny(host, "/?#@:") {
		return nil, "", fmt.Errorf("%s: want a bucket and a key", address)
	}
	endpoint := "https://" + host + ".s3.amazonaws.com"
	switch {
	case strings.EqualFold(scheme, "gs"):
		endpoint = "https://storage.googleapis.com/" + host
	case strings.Contains(host, "."): // the certificate would not fit
		endpoint = "https://s3.amazonaws.com/" + host
	}
	folder, name := Split("/" + key)
	return NewBucket(endpoint, strings.Trim(folder, "/"), Options{}), name, nil
}

// Entry returns the entry of a file in a list of [Options].
func Entry(name string, size int64) fs.DirEntry {
	return fs.FileInfoToDirEntry(&file{name: name, size: size})
}
