// Package xmlscan pulls elements, attributes and text out of one XML document without building a
// tree. It is for messages of devices: names are local ones, prefixes and namespaces are passed over,
// a document type and the entities one could declare are refused, and the bounds are small. Text in
// another encoding than UTF-8 is refused.
//
// The pattern is that of package jsonscan: Child goes to the next element within the one that was
// entered last, and whoever is there reads it whole, by Child until there is no more, by Text or by
// Skip.
//
//	for {
//		more, err := s.Child()
//		if err != nil || !more {
//			return err
//		}
//		switch string(s.Name()) {
//		case "Type":
//			text, err = s.Text()
//		default:
//			err = s.Skip()
//		}
//		…
//	}
//
// Errors name what was wanted and at which byte, and quote nothing: messages may hold what must not
// be kept.
package xmlscan
