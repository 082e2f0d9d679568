package buckets

import (
	"strconv"

	"cloud.google.com/go/storage"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
)

// version tells which version of an object is read, by what its provider has for
// that: times of change have whole seconds.
func version(r *blob.Reader) string {
	var amazon s3.GetObjectOutput
	if r.As(&amazon) && amazon.ETag != nil {
		return *amazon.ETag
	}
	var google *storage.Reader
	if r.As(&google) {
		return strconv.FormatInt(google.Attrs.Generation, 10)
	}
	var azure azblob.DownloadStreamResponse
	if r.As(&azure) && azure.ETag != nil {
		return string(*azure.ETag)
	}
	return r.ModTime().UTC().String()
}
