use super::*;

fn source(bytes: &[u8]) -> Result<Y4mSource<&[u8]>, VideoError> {
    Y4mSource::new(bytes, Path::new("memory"), Y4mOptions::default())
}

fn codes(frame: &Frame) -> Vec<f32> {
    frame.samples().iter().map(|sample| (sample * 255.0).round()).collect()
}

#[test]
fn mono_is_grey_and_frame_tags_are_passed_over() {
    let bytes = b"YUV4MPEG2 W2 H1 F10:1 Cmono XCOLORRANGE=FULL\nFRAME Ip\n\x00\xffFRAME\n\x80\x40";
    let mut source = source(bytes).unwrap();
    let first = source.next_frame().unwrap().unwrap();
    assert_eq!(
        (codes(&first.frame), first.seconds),
        (vec![0., 0., 0., 255., 255., 255.], Some(0.0))
    );
    let second = source.next_frame().unwrap().unwrap();
    assert_eq!(codes(&second.frame), [128., 128., 128., 64., 64., 64.]);
    assert_eq!(second.seconds, Some(0.1));
    assert!(source.next_frame().unwrap().is_none());
}

#[test]
fn the_matrix_follows_the_height_or_the_option() {
    // The codes of BT.709 red, read as both; opacity is dropped.
    let bytes = b"YUV4MPEG2 W1 H1 C444alpha\nFRAME\n\x3f\x66\xf0\x00";
    let read = |matrix| {
        let options = Y4mOptions { matrix, range: None };
        let mut source = Y4mSource::new(&bytes[..], Path::new("memory"), options).unwrap();
        codes(&source.next_frame().unwrap().unwrap().frame)
    };
    assert_eq!(read(Some(Matrix::Bt709)), [255., 1., 0.]);
    let standard = read(Some(Matrix::Bt601));
    assert_ne!(standard, read(Some(Matrix::Bt709)));
    assert_eq!(read(None), standard);
}

#[test]
fn the_range_option_beats_the_stream() {
    let bytes = b"YUV4MPEG2 W1 H1 Cmono XCOLORRANGE=LIMITED\nFRAME\n\x10";
    let read = |range| {
        let options = Y4mOptions { matrix: None, range };
        let mut source = Y4mSource::new(&bytes[..], Path::new("memory"), options).unwrap();
        codes(&source.next_frame().unwrap().unwrap().frame)
    };
    assert_eq!(read(None), [0.; 3]);
    assert_eq!(read(Some(Range::Full)), [16.; 3]);
}

#[test]
fn a_cut_stream_is_an_error_with_the_frame() {
    let whole = b"YUV4MPEG2 W4 H2 Cmono\nFRAME\n12345678FRAME\n12345678";
    for cut in 1..14 {
        let mut source = source(&whole[..whole.len() - cut]).unwrap();
        assert!(source.next_frame().unwrap().is_some());
        let error = source.next_frame().unwrap_err();
        assert!(matches!(error, VideoError::Y4mFrame { frame: 1, .. }), "{cut}: {error}");
        assert!(source.next_frame().unwrap().is_none(), "after an error the stream is over");
    }
    let mut source = source(&whole[..whole.len() - 14]).unwrap();
    assert!(source.next_frame().unwrap().is_some());
    assert!(source.next_frame().unwrap().is_none());
}

#[test]
fn what_is_no_frame_is_an_error() {
    for bytes in [&b"YUV4MPEG2 W1 H1 Cmono\nFRAMES\n1"[..], b"YUV4MPEG2 W1 H1 Cmono\n\n1"] {
        let error = source(bytes).unwrap().next_frame().unwrap_err();
        assert!(error.to_string().contains("FRAME"), "{error}");
    }
}

#[test]
fn what_is_no_stream_is_an_error() {
    let endless = vec![b'Y'; 10_000];
    for bytes in [&b""[..], b"YUV4MPEG2 W1 H1", b"\x89PNG\r\n\x1a\n", &endless, b"\xff\xfe\n"] {
        let error = source(bytes).unwrap_err();
        assert!(matches!(error, VideoError::Y4mHeader { .. }), "{error}");
    }
    let missing = Y4mSource::open(Path::new("/no/such/file.y4m"), Y4mOptions::default());
    assert!(matches!(missing, Err(VideoError::Read { .. })));
}

#[test]
fn a_head_that_promises_too_much_takes_no_memory() {
    let error = source(b"YUV4MPEG2 W100000 H100000\nFRAME\n").unwrap_err();
    assert!(matches!(error, VideoError::Y4mHeader { .. }), "{error}");
    let mut source = source(b"YUV4MPEG2 W10000 H10000 C444p16\nFRAME\n123").unwrap();
    let error = source.next_frame().unwrap_err();
    assert!(error.to_string().contains("3 of 600000000 bytes"), "{error}");
    assert!(source.bytes.capacity() < 1 << 20);
}
