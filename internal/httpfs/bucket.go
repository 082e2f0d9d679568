package httpfs

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxEntries is the most files of a folder that are listed.
const maxEntries = 1 << 16

// NewBucket returns the files below a folder of a bucket that anyone may
// read, through the interface that Amazon S3 and Google Cloud Storage share.
// endpoint is the address of the bucket, folder has no slash at its ends and
// may be empty.
func NewBucket(endpoint, folder string, o Options) *FS {
	if o.Client == nil {
		o.Client = &http.Client{Timeout: time.Minute}
	}
	endpoint = strings.TrimSuffix(endpoint, "/")
	o.List = func(ctx context.Context, dir string) ([]fs.DirEntry, error) {
		prefix := strings.Trim(folder, "/")
		if dir != "." {
			prefix = strings.TrimPrefix(prefix+"/"+dir, "/")
		}
		if prefix != "" {
			prefix += "/"
		}
		out, err := listFolder(ctx, o.Client, endpoint, prefix)
		if err != nil {
			return nil, &fs.PathError{Op: "list", Path: dir, Err: err}
		}
		return out, nil
	}
	base := endpoint
	for _, p := range strings.Split(strings.Trim(folder, "/"), "/") {
		if p != "" {
			base += "/" + url.PathEscape(p)
		}
	}
	return New(base, o)
}

// listing is an answer of ListObjectsV2.
type listing struct {
	Contents []struct {
		Key  string `xml:"Key"`
		Size int64  `xml:"Size"`
	} `xml:"Contents"`
	Truncated bool   `xml:"IsTruncated"`
	Next      string `xml:"NextContinuationToken"`
}

// listFolder returns the files, not the folders, that lie right below a prefix.
func listFolder(ctx context.Context, client *http.Client, endpoint, prefix string) (out []fs.DirEntry, err error) {
	token := ""
	for {
		q := url.Values{"list-type": {"2"}, "prefix": {prefix}, "delimiter": {"/"}}
		if token != "" {
			q.Set("continuation-token", token)
		}
		l, err := listPage(ctx, client, endpoint+"/?"+q.Encode())
		if err != nil {
			return nil, err
		}
		for _, c := range l.Contents {
			name, ok := strings.CutPrefix(c.Key, prefix)
			if !ok || name == "" || strings.Contains(name, "/") {
				continue
			}
			if len(out) >= maxEntries {
				return nil, fmt.Errorf("more than %d files below %s", maxEntries, prefix)
			}
			out = append(out, Entry(name, c.Size))
		}
		if !l.Truncated || l.Next == "" || l.Next == token {
			return out, nil
		}
		token = l.Next
	}
}

func listPage(ctx context.Context, client *http.Client, address string) (l listing, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return l, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return l, redact(err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return l, fs.ErrNotExist
	case http.StatusUnauthorized, http.StatusForbidden:
		return l, fmt.Errorf("%s: %w", resp.Status, fs.ErrPermission)
	default:
		return l, errors.New(resp.Status)
	}
	if err := xml.NewDecoder(io.LimitReader(resp.Body, 1<<24)).Decode(&l); err != nil {
		return l, fmt.Errorf("listing: %w", err)
	}
	return l, nil
}
