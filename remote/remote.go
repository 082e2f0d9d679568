// Package remote lets sam.OpenSlide read slides of web servers and public
// buckets without a download. Importing it is all:
//
//	import _ "github.com/slidesam/sam/remote"
//
//	s, err := sam.OpenSlide("https://example.org/slides/a.svs")
//	s, err := sam.OpenSlide("s3://idc-open-data/SERIES/")
//
// Addresses of http and https must be of a server that answers range
// requests; s3 and gs are buckets of Amazon and Google that anyone may read
// (for others there are signed addresses of https). An address that ends in
// a slash or in .zarr is a folder: of OME-Zarr, or, in a bucket, of DICOM.
// A web server lists no folders, so that of DICOM on one only the file that
// is named is read.
// What is read lies in blocks in a cache of 64 MiB a slide. A file that
// changes on the server while it is read gives an error.
//
// The package is apart so that programs which do without it carry no HTTP
// client.
package remote

import (
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/slidesam/sam/internal/httpfs"
	"github.com/slidesam/sam/internal/wsi"
)

func init() {
	wsi.RegisterRemote("http", web)
	wsi.RegisterRemote("https", web)
	wsi.RegisterRemote("s3", bucket(func(name string) string {
		if strings.Contains(name, ".") { // the certificate would not fit
			return "https://s3.amazonaws.com/" + name
		}
		return "https://" + name + ".s3.amazonaws.com"
	}))
	wsi.RegisterRemote("gs", bucket(func(name string) string { return "https://storage.googleapis.com/" + name }))
}

// web opens an address of a web server.
func web(address string) (wsi.RemoteFS, string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, "", fmt.Errorf("remote: no address of a web server")
	}
	folder, name := split(u.Path)
	u.Path, u.RawPath, u.Fragment = folder, "", ""
	return httpfs.New(u.String(), httpfs.Options{}), name, nil
}

// bucket opens an address SCHEME://BUCKET/KEY.
func bucket(endpoint func(name string) string) wsi.Remote {
	return func(address string) (wsi.RemoteFS, string, error) {
		_, rest, _ := strings.Cut(address, "://")
		host, key, _ := strings.Cut(rest, "/")
		if host == "" || key == "" || strings.ContainsAny(host, "/?#@:") {
			return nil, "", fmt.Errorf("remote: %s: want a bucket and a key", address)
		}
		folder, name := split("/" + key)
		return httpfs.NewBucket(endpoint(host), strings.Trim(folder, "/"), httpfs.Options{}), name, nil
	}
}

// split parts the path of a slide into its folder and its name in it.
func split(p string) (folder, name string) {
	if strings.HasSuffix(p, "/") || strings.EqualFold(path.Ext(p), ".zarr") {
		return strings.TrimSuffix(p, "/"), "."
	}
	folder, name = path.Split(p)
	return strings.TrimSuffix(folder, "/"), name
}
