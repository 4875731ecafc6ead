// Package push takes video metadata that cameras and plate readers post by HTTP:
//
//	POST /vds/push/{camera}            the format is found by what the message begins with
//	POST /vds/push/{camera}/{format}   the name of a decoder: hikvision, onvif-xml, rekor…
//
// Every camera has a credential of its own, the secret that the registry has of it: as HTTP Basic with
// the camera's id as user, as a Bearer token, or as ?key= for those that can do nothing else.
//
// The body is one message, or multipart/* with any number of them between pictures, which are passed
// over unread. A multipart body may go on for ever, as Hikvision's alertStream does: each part is
// taken in when it is whole. What was whole stays taken in when the rest does not come.
//
// 200 means that the log has every message. 503 means that it does not say so yet: send again, a
// message with a time of its own is known when it comes twice. A message that its decoder refuses is
// on the log as refused, in the dead letter and without its content, and gets 200 too: sending it
// again would not mend it. Answers never repeat what was sent.
package push
