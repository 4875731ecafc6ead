// Package broker is the MQTT broker that runs inside the process: mochi-mqtt with a short cut.
//
// mochi is a whole broker (sessions, subscriptions, retained messages, wills, MQTT 3.1.1 and 5) and
// spends several microseconds and kilobytes on every packet. Telemetry needs nothing of that: it
// goes to the log, is acknowledged when it is there, and seldom has a subscriber. So each
// connection is wrapped before mochi sees it. The wrapper cuts the byte stream into packets, takes
// the PUBLISH packets whose topics the pump routes (and the PUBRELs that belong to them) out of it,
// and hands on all others untouched and in order; mochi never learns of what was taken out.
// Authentication comes first: nothing is taken out before mochi has accepted the CONNECT.
//
// Who is let in, and to which topics, says a Door: devices by the secret or certificate that the registry has
// of them, each to its own topics. What is allowed is asked once a topic and connection. A session belongs to
// who logged in; a client whose device is removed, disabled or given another secret is cut off.
//
// Acknowledgements are sent in the order of the messages (MQTT-4.6.0-2) and many in one write. A
// message with subscribers, or to be retained, is handed to mochi as well, as published by the
// same client, once the pump has taken it in.
package broker
