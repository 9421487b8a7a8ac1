"""What server and nodes say to each other: a typed request and a typed reply for each kind of message.

Nothing outside this folder knows how a message is laid out. A request is made with `request.content()`, read with
`Request.read(content)`; a reply likewise. Reading checks types, shapes and ranges, and raises `Malformed`: what arrives
may come from a stranger.
"""
