use super::*;
use proptest::prelude::*;
use tokio::io::AsyncReadExt;

/// A frame: type, flags, payload.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags, 0, 0, 0, 1]);
    frame.extend_from_slice(payload);
    frame
}

/// What the server reads when the client's bytes come in pieces of that many.
fn given(bytes: &[u8], piece: usize) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let pieces = bytes.chunks(piece).fold(Pieces::default(), |mut script, piece| {
            script.0.push_back(piece.to_vec());
            script
        });
        let mut all = Vec::new();
        Named::new(pieces).read_to_end(&mut all).await.expect("no error");
        all
    })
}

/// A stream of prepared pieces.
#[derive(Default)]
struct Pieces(std::collections::VecDeque<Vec<u8>>);

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(mut piece) = self.0.pop_front() {
            let now = piece.len().min(out.remaining());
            let rest = piece.split_off(now);
            out.put_slice(&piece);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// `:method: POST` by its number, `:scheme: http`, a path that is added to the table, `:authority` told like that, one field more.
fn block(name: &[u8], authority: &[u8]) -> Vec<u8> {
    let mut block = vec![0x83, 0x86, 0x44, 4];
    block.extend_from_slice(b"/a/b");
    block.extend_from_slice(name);
    block.push(authority.len() as u8);
    block.extend_from_slice(authority);
    block.extend_from_slice(&[0x40, 2]);
    block.extend_from_slice(b"te");
    block.push(8);
    block.extend_from_slice(b"trailers");
    block
}

fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frames.iter().for_each(|frame| bytes.extend_from_slice(frame));
    bytes
}

#[test]
fn an_authority_is_replaced_however_it_is_told_and_comes() {
    let settings = frame(4, 0, &[0, 3, 0, 0, 0, 100]);
    for name in [&b"\x41"[..], b"\x01", b"\x11", b"\x40\x0a:authority", b"\x10\x0a:authority"] {
        let (asked, told) = (block(name, b"run%2Ffalco%2Fgrpc.sock"), block(name, b"u"));
        let padded = |block: &[u8]| [&[3, 0, 0, 0, 0, 16], block, &[0; 3]].concat();
        let ask = |block: &[u8]| {
            connection(&[
                settings.clone(),
                frame(HEADERS, END_HEADERS, block),
                frame(0, 1, b"0123456789"),
                frame(HEADERS, END_HEADERS | PADDED | PRIORITY, &padded(block)),
                frame(HEADERS, END_HEADERS, &[0x83, 0x86, 0xbe]),
            ])
        };
        for piece in [1, 2, 7, 24, 31, 1000] {
            assert!(given(&ask(&asked), piece) == ask(&told), "{name:x?} in pieces of {piece}");
        }
    }
}

#[test]
fn what_is_not_understood_passes() {
    let asked = block(b"\x41", b"/run/falco.sock");
    for frames in [
        // Goes on in another frame.
        vec![frame(HEADERS, 0, &asked), frame(9, END_HEADERS, &[0x82])],
        // Another type with the same content, more padding than there is, no room for a priority.
        vec![frame(0, 0, &asked)],
        vec![frame(HEADERS, END_HEADERS | PADDED, &[255, 0x41, 1])],
        vec![frame(HEADERS, END_HEADERS | PRIORITY, &[0, 0])],
        // A text, and a number, that do not end.
        vec![frame(HEADERS, END_HEADERS, &[0x41, 9, b'x'])],
        vec![frame(HEADERS, END_HEADERS, &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])],
        vec![frame(HEADERS, END_HEADERS, &[])],
        // As long as no server takes.
        vec![frame(HEADERS, END_HEADERS, &block(b"\x41", b"x").repeat(1000))],
        // The end in the middle of a frame.
        vec![frame(HEADERS, END_HEADERS, &asked)[..12].to_vec()],
    ] {
        let bytes = connection(&frames);
        assert!(given(&bytes, 10) == bytes, "{frames:x?}");
    }
}

proptest! {
    /// Whatever comes, in whatever pieces: no panic, the same in all pieces, never longer.
    #[test]
    fn nonsense(frames in prop::collection::vec((0..10u8, any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..6),
                end in 0..200usize, piece in 1..40usize) {
        let frames: Vec<_> = frames.iter().map(|(kind, flags, payload)| frame(*kind, *flags, payload)).collect();
        let bytes = connection(&frames);
        let bytes = &bytes[..bytes.len().min(end)];
        let whole = given(bytes, 100_000);
        prop_assert!(whole.len() <= bytes.len());
        prop_assert!(given(bytes, piece) == whole);
    }
}
