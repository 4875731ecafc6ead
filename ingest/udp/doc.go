// Package udp takes in what gateways with Semtech's packet forwarder send over UDP (protocol
// version 2): it answers PUSH_DATA and PULL_DATA and hands datagrams to a Receiver, whose business
// their meaning is.
//
// What it promises: a datagram is answered after its Receiver took it in, with 4 bytes, always
// fewer than were sent; nothing is sent to a gateway that is not let in or sends too much. UDP loses
// what comes while the Receiver blocks and the socket's buffer is full, and forwarders send nothing
// twice: the gateway sees the missing answers in its own statistics. Anybody can write any gateway's
// EUI into a datagram: the list of gateways keeps accidents out, not attackers; frames are checked by
// their MIC.
package udp
