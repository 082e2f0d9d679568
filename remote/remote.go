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

	"github.com/slidesam/sam/internal/httpfs"
	"github.com/slidesam/sam/internal/wsi"
)

func init() {
	wsi.RegisterRemote("http", web)
	wsi.RegisterRemote("https", web)
	wsi.RegisterRemote("s3", public)
	wsi.RegisterRemote("gs", public)
}

// web opens an address of a web server.
func web(address string) (wsi.RemoteFS, string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, "", fmt.Errorf("remote: no address of a web server")
	}
	folder, name := httpfs.Split(u.Path)
	u.Path, u.RawPath, u.Fragment = folder, "", ""
	return httpfs.New(u.String(), httpfs.Options{}), name, nil
}

// public opens an address SCHEME://BUCKET/KEY.
func public(address string) (wsi.RemoteFS, string, error) {
	f, name, err := httpfs.Public(address)
	if err != nil {
		return nil, "", fmt.Errorf("remote: %w", err)
	}
	return f, name, nil
}
