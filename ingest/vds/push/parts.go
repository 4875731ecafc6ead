package push

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
)

// parts takes in what of a multipart body are messages, each as soon as it is whole.
func (q *request) parts(boundary string) {
	parts := multipart.NewReader(q.body, boundary)
	for n := 1; !q.away; n++ {
		q.within(quietTime)
		part, err := parts.NextRawPart()
		if err != nil {
			// Cut between parts: streams are, and some firmwares leave the last boundary out. Without any
			// part it was none.
			if err != io.EOF && n == 1 { //nolint:errorlint // the end itself, not what wraps it
				q.broken(err, 1)
			}
			return
		}
		q.within(bodyTime)
		if !q.part(part, n) {
			return
		}
	}
}

// part takes in the n-th part and reports whether another one may follow.
func (q *request) part(p *multipart.Part, n int) bool {
	if isImage(p) {
		q.h.metrics.parts.WithLabelValues(partImage).Inc()
		return q.pass(p, n)
	}
	var from io.Reader = p
	// A part that says how long it is is whole when all of it is there; without that, when the next
	// boundary is, which may take as long as the camera has nothing to tell.
	if size, err := strconv.ParseInt(p.Header.Get("Content-Length"), 10, 64); err == nil && size > 0 {
		from = io.LimitReader(p, size)
	} else {
		q.within(quietTime)
	}
	payload, err := q.read(from)
	switch {
	case errors.Is(err, errTooLarge):
		q.tooLarge(n)
		return q.pass(p, n)
	case err != nil && !q.body.ended:
		q.broken(err, n)
		return false
	}
	// A body that ended in a part has left out its last boundary, or the rest: its decoder can tell.
	if len(payload) > 0 && (q.format != "" || isText(payload)) {
		q.take(payload, n)
	} else if len(payload) > 0 {
		q.h.metrics.parts.WithLabelValues(partImage).Inc()
	}
	return err == nil
}

// pass reads over the rest of a part.
func (q *request) pass(p *multipart.Part, n int) bool {
	passed, err := io.CopyN(io.Discard, p, maxSkipped)
	switch {
	case err == io.EOF: //nolint:errorlint // the end itself, not what wraps it
		return true
	case err != nil:
		q.broken(err, n)
	case passed == maxSkipped:
		q.fail(refusal(http.StatusRequestEntityTooLarge, "part %d: more than %d bytes", n, maxSkipped))
		q.h.metrics.parts.WithLabelValues(partTooLarge).Inc()
	}
	return false
}

// isImage reports whether a part says that it is no text.
func isImage(p *multipart.Part) bool {
	media, _, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
	if err != nil {
		return false
	}
	family, _, _ := strings.Cut(media, "/")
	return family == "image" || family == "video" || family == "audio"
}
