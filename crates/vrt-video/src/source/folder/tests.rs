use image::{GrayAlphaImage, GrayImage, ImageBuffer, Luma, Rgb, RgbImage, RgbaImage};
use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use super::*;
use crate::read_picture;

fn picture(folder: &TempDir, name: &str, width: u32, height: u32) {
    RgbImage::from_pixel(width, height, Rgb([10, 20, 30])).save(folder.path().join(name)).unwrap();
}

fn open(folder: &TempDir) -> Result<FolderSource, VideoError> {
    FolderSource::open(folder.path(), PictureChannels::Rgb)
}

fn names(folder: &TempDir) -> Vec<String> {
    let mut source = open(folder).unwrap();
    let frames = std::iter::from_fn(|| source.next_frame().unwrap());
    frames.map(|frame| frame.name.unwrap()).collect()
}

#[test]
fn frames_come_in_natural_order_and_other_files_are_passed_over() {
    let folder = tempdir().unwrap();
    for name in ["frame10.png", "frame2.PNG", "frame1.bmp", "frame02.png", ".hidden.png"] {
        picture(&folder, name, 4, 3);
    }
    std::fs::write(folder.path().join("notes.txt"), "no picture").unwrap();
    std::fs::create_dir(folder.path().join("folder.png")).unwrap();
    assert_eq!(names(&folder), ["frame1", "frame02", "frame2", "frame10"]);
    let info = open(&folder).unwrap().info().clone();
    assert_eq!((info.width, info.height, info.frames, info.bit_depth), (4, 3, Some(4), 8));
}

#[test]
fn every_format_is_read() {
    let folder = tempdir().unwrap();
    for name in ["a.png", "b.jpg", "c.jpeg", "d.tif", "e.tiff", "f.webp", "g.bmp"] {
        picture(&folder, name, 16, 16);
    }
    let mut source = open(&folder).unwrap();
    for _ in 0..7 {
        let frame = source.next_frame().unwrap().unwrap();
        // JPEG may be off by some codes, the others not at all.
        let near =
            if frame.name.as_deref().is_some_and(|name| "bc".contains(name)) { 3. } else { 0. };
        for (sample, code) in frame.frame.samples().iter().zip([10., 20., 30.].iter().cycle()) {
            assert!((sample - code / 255.0).abs() * 255.0 <= near, "{:?}: {sample}", frame.name);
        }
    }
    assert!(source.next_frame().unwrap().is_none());
}

#[test]
fn sixteen_bits_are_kept_exactly() {
    let folder = tempdir().unwrap();
    let codes = ImageBuffer::from_fn(64, 64, |x, y| {
        let code = (x + 64 * y) as u16;
        Rgb([code, 65535 - code, 3 * code])
    });
    for name in ["codes.png", "codes.tiff"] {
        let path = folder.path().join(name);
        codes.save(&path).unwrap();
        let frame = read_picture(&path, PictureChannels::Rgb).unwrap();
        for (sample, &code) in frame.samples().iter().zip(codes.as_raw()) {
            assert_eq!(*sample, f32::from(code) / 65535.0, "{name}");
        }
        let source = FolderSource::single(&path, PictureChannels::Rgb).unwrap();
        assert_eq!((source.info().bit_depth, source.info().frames), (16, Some(1)));
    }
}

#[test]
fn grey_becomes_colour_or_stays_and_opacity_is_dropped() {
    let folder = tempdir().unwrap();
    let read = |name: &str, channels| {
        let frame = read_picture(&folder.path().join(name), channels).unwrap();
        frame.samples().iter().map(|sample| (sample * 255.0).round()).collect::<Vec<_>>()
    };
    let at = |name: &str| folder.path().join(name);
    GrayImage::from_raw(2, 1, vec![7, 9]).unwrap().save(at("grey.png")).unwrap();
    assert_eq!(read("grey.png", PictureChannels::Rgb), [7., 7., 7., 9., 9., 9.]);
    assert_eq!(read("grey.png", PictureChannels::Grey), [7., 9.]);
    GrayAlphaImage::from_raw(1, 1, vec![7, 0]).unwrap().save(at("ga.png")).unwrap();
    assert_eq!(read("ga.png", PictureChannels::Rgb), [7., 7., 7.]);
    RgbaImage::from_raw(1, 1, vec![1, 2, 3, 0]).unwrap().save(at("rgba.png")).unwrap();
    assert_eq!(read("rgba.png", PictureChannels::Rgb), [1., 2., 3.]);
    // 0.299 · 100 + 0.587 · 200 + 0.114 · 50 = 153.
    RgbImage::from_raw(1, 1, vec![100, 200, 50]).unwrap().save(at("rgb.png")).unwrap();
    assert_eq!(read("rgb.png", PictureChannels::Grey), [153.]);
}

#[test]
fn mixed_sizes_are_an_error_that_names_both() {
    let folder = tempdir().unwrap();
    picture(&folder, "a1.png", 4, 3);
    picture(&folder, "a2.png", 4, 3);
    picture(&folder, "a3.png", 3, 4);
    let error = open(&folder).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, VideoError::MixedSizes { .. }), "{text}");
    for word in ["a1.png", "4×3", "a3.png", "3×4"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn a_picture_that_changes_size_after_opening_is_an_error_too() {
    let folder = tempdir().unwrap();
    picture(&folder, "1.png", 4, 3);
    picture(&folder, "2.png", 4, 3);
    let mut source = open(&folder).unwrap();
    picture(&folder, "2.png", 5, 3);
    assert!(source.next_frame().unwrap().is_some());
    assert!(matches!(source.next_frame(), Err(VideoError::MixedSizes { .. })));
}

#[test]
fn a_bad_picture_ends_the_stream_after_the_good_ones() {
    let folder = tempdir().unwrap();
    for name in ["1.png", "2.png", "3.png", "4.png"] {
        picture(&folder, name, 40, 30);
    }
    let whole = std::fs::read(folder.path().join("3.png")).unwrap();
    for bad in [&whole[..whole.len() / 2], b"text" as &[u8], b""] {
        std::fs::write(folder.path().join("3.png"), bad).unwrap();
        let mut source = open(&folder).unwrap();
        assert!(source.next_frame().unwrap().is_some());
        assert!(source.next_frame().unwrap().is_some());
        let error = source.next_frame().unwrap_err();
        assert!(matches!(error, VideoError::Picture { frame: 2, .. }), "{error}");
        assert!(error.to_string().contains("3.png"), "{error}");
        assert!(source.next_frame().unwrap().is_none());
    }
}

#[test]
fn folders_without_frames_are_errors() {
    let folder = tempdir().unwrap();
    assert!(matches!(open(&folder), Err(VideoError::NoPictures { .. })));
    let gone = folder.path().join("gone");
    let error = FolderSource::open(&gone, PictureChannels::Rgb).unwrap_err();
    assert!(matches!(error, VideoError::Read { .. }), "{error}");
}

#[test]
fn two_frames_of_one_name_are_an_error() {
    let folder = tempdir().unwrap();
    picture(&folder, "a.png", 4, 3);
    picture(&folder, "a.jpg", 4, 3);
    assert!(matches!(open(&folder), Err(VideoError::SameName { .. })));
}

#[test]
fn a_head_that_promises_too_much_takes_no_memory() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("huge.bmp");
    picture(&folder, "huge.bmp", 1, 1);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[18..22].copy_from_slice(&60_000u32.to_le_bytes());
    bytes[22..26].copy_from_slice(&60_000u32.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let error = read_picture(&path, PictureChannels::Rgb).unwrap_err();
    assert!(matches!(error, VideoError::Picture { .. }), "{error}");
}

#[test]
fn floating_point_is_refused_with_a_word() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("float.tiff");
    let float = ImageBuffer::from_pixel(2, 2, Rgb([0.5f32, 0.5, 0.5]));
    image::DynamicImage::ImageRgb32F(float).save(&path).unwrap();
    let error = read_picture(&path, PictureChannels::Rgb).unwrap_err().to_string();
    assert!(error.contains("floating-point"), "{error}");
}

#[test]
fn a_sixteen_bit_grey_mask_stays_one_channel() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("mask.png");
    ImageBuffer::from_pixel(3, 2, Luma([1000u16])).save(&path).unwrap();
    let mut source = FolderSource::open(folder.path(), PictureChannels::Grey).unwrap();
    let frame = source.next_frame().unwrap().unwrap().frame;
    assert_eq!(frame.channels(), 1);
    assert_eq!(frame.samples(), [1000.0 / 65535.0; 6]);
}

proptest! {
    #[test]
    fn natural_order_is_an_order(names in prop::collection::vec("[a-b0-2é]{0,4}", 3)) {
        let [a, b, c] = [&names[0], &names[1], &names[2]];
        prop_assert_eq!(natural_order(a, b), natural_order(b, a).reverse());
        prop_assert_eq!(natural_order(a, b).is_eq(), a == b);
        if natural_order(a, b).is_le() && natural_order(b, c).is_le() {
            prop_assert!(natural_order(a, c).is_le(), "{a} {b} {c}");
        }
    }

    #[test]
    fn numbers_order_by_value(a: u64, b: u64) {
        prop_assume!(a != b);
        let order = natural_order(&format!("x{a}.png"), &format!("x{b}.png"));
        prop_assert_eq!(order, a.cmp(&b));
    }
}
