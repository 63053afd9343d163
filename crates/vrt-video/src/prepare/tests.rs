//! Downloads in miniature, as their authors lay them out.

use std::path::Path;

use tempfile::{TempDir, tempdir};

use super::*;
use crate::{BitDepth, ClipList, Frame, write_picture};

/// A download with frames `files` of 6×4 pixels.
fn download(files: &[&str]) -> TempDir {
    let root = tempdir().unwrap();
    for file in files {
        let path = root.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_picture(&path, &Frame::filled(6, 4, 3, 0.5), BitDepth::Eight, false).unwrap();
    }
    root
}

/// Names of trees and clips of a plan, and each clip's frames.
fn outline(plan: &Plan) -> Vec<String> {
    let lines = plan.trees.iter().flat_map(|tree| {
        tree.clips.iter().map(|clip| {
            let names: Vec<_> = clip.frames.iter().map(|(name, _)| name.as_str()).collect();
            format!("{}: {} {}", tree.name, clip.name, names.join(" "))
        })
    });
    lines.collect()
}

fn planned_of(files: &[&str], layout: PublishedLayout) -> (Vec<String>, usize) {
    let plan = Plan::of(download(files).path(), layout).unwrap();
    (outline(&plan), plan.left_out)
}

#[test]
fn reds_gets_its_validation_clips_behind_the_others() {
    let (outline, left_out) = planned_of(
        &[
            "train/train_sharp/000/00000000.png",
            "train/train_sharp/239/00000000.png",
            "val/val_sharp/000/00000000.png",
            "val/val_sharp/029/00000000.png",
            "train_sharp_bicubic/X4/011/00000000.png",
            "val_blur/003/00000000.png",
            "test_blur/000/00000000.png",
        ],
        PublishedLayout::Reds,
    );
    assert_eq!(
        outline,
        [
            "train_sharp_bicubic: 011 00000000",
            "train_sharp_with_val: 000 00000000",
            "train_sharp_with_val: 239 00000000",
            "train_sharp_with_val: 240 00000000",
            "train_sharp_with_val: 269 00000000",
            "val_blur: 243 00000000",
        ]
    );
    assert_eq!(left_out, 1);
}

#[test]
fn deblurring_sets_are_split_as_published() {
    let (outline, left_out) = planned_of(
        &[
            "train/GOPR0372_07_00/sharp/000047.png",
            "train/GOPR0372_07_00/sharp/000048.png",
            "train/GOPR0372_07_00/blur/000047.png",
            "train/GOPR0372_07_00/blur_gamma/000047.png",
            "test/GOPR0384_11_00/sharp/000001.png",
        ],
        PublishedLayout::GoPro,
    );
    assert_eq!(
        outline,
        [
            "test_GT: GOPR0384_11_00 000001",
            "train_GT: GOPR0372_07_00 000047 000048",
            "train_GT_blurred: GOPR0372_07_00 000047",
            "train_GT_blurred_gamma: GOPR0372_07_00 000047",
        ]
    );
    assert_eq!(left_out, 0);
    let (outline, left_out) = planned_of(
        &[
            "quantitative_datasets/720p_240fps_1/GT/00000.png",
            "quantitative_datasets/720p_240fps_1/input/00000.png",
            "quantitative_datasets/IMG_0049/GT/00000.png",
            "qualitative_datasets/alley/input/00000.png",
            "quantitative_datasets/IMG_0049/extra/00000.png",
        ],
        PublishedLayout::Dvd,
    );
    assert_eq!(
        outline,
        [
            "test_GT: IMG_0049 00000",
            "train_GT: 720p_240fps_1 00000",
            "train_GT_blurred: 720p_240fps_1 00000",
        ]
    );
    assert_eq!(left_out, 2);
}

#[test]
fn sets_for_denoising_and_super_resolution_are_found() {
    let davis = ["JPEGImages/480p/bear/00000.png", "Annotations/480p/bear/00000.png"];
    let found = planned_of(&davis, PublishedLayout::Davis);
    assert_eq!(found, (vec!["train_GT: bear 00000".to_owned()], 1));
    let udm = ["archpeople/truth/0000.png", "archpeople/blur4/0000.png", "BIx4/lake/0000.png"];
    let found = planned_of(&udm, PublishedLayout::Udm10).0;
    assert_eq!(found, ["BDx4: archpeople 0000", "BIx4: lake 0000", "GT: archpeople 0000"]);
}

#[test]
fn vimeo_is_divided_by_its_lists() {
    let names = |sequence: &str| (1..=7).map(|im| format!("{sequence}/im{im}.png")).collect();
    let files: Vec<String> =
        ["sequences/00001/0001", "sequences/00001/0002", "sequences/00002/0001"]
            .iter()
            .flat_map(|sequence| -> Vec<String> { names(sequence) })
            .collect();
    let root = download(&files.iter().map(String::as_str).collect::<Vec<_>>());
    let error = Plan::of(root.path(), PublishedLayout::Vimeo).unwrap_err().to_string();
    assert!(error.contains("sep_trainlist.txt") && error.contains("trained on"), "{error}");
    std::fs::write(root.path().join("sep_trainlist.txt"), "00001/0001\r\n\n").unwrap();
    std::fs::write(root.path().join("sep_testlist.txt"), "00002/0001\n").unwrap();
    let plan = Plan::of(root.path(), PublishedLayout::Vimeo).unwrap();
    let seven = "im1 im2 im3 im4 im5 im6 im7";
    assert_eq!(
        outline(&plan),
        [
            format!("vimeo90k_test_GT: 00002/0001 {seven}"),
            format!("vimeo90k_train_GT_all: 00001/0001 {seven}"),
        ]
    );
    assert_eq!(
        (plan.left_out, &plan.left_out_names[..]),
        (1, &["sequences/00001/0002".to_owned()][..])
    );
    std::fs::remove_file(root.path().join("sequences/00001/0001/im4.png")).unwrap();
    let error = Plan::of(root.path(), PublishedLayout::Vimeo).unwrap_err().to_string();
    assert!(error.contains("00001/0001") && error.contains("im1 … im7"), "{error}");
}

#[test]
fn clips_without_numbers_get_new_ones() {
    let (outline, _) = planned_of(
        &["a/frame1.png", "a/frame10.png", "a/frame2.png", "deep/b/0007.png", "deep/b/0008.png"],
        PublishedLayout::Clips,
    );
    assert_eq!(outline, ["train_GT: a 00000000 00000001 00000002", "train_GT: deep/b 0007 0008"]);
}

#[test]
fn what_is_wrong_with_a_download_is_told() {
    let error =
        |files: &[&str], layout| Plan::of(download(files).path(), layout).unwrap_err().to_string();
    let message = error(&["train_sharp/000/00000000.png"], PublishedLayout::GoPro);
    assert!(message.contains("gopro") && message.contains("…/blur"), "{message}");
    let gap = ["train_sharp/000/00000000.png", "train_sharp/000/00000002.png"];
    let message = error(&gap, PublishedLayout::Reds);
    assert!(message.contains("before 00000002 is missing"), "{message}");
    let twice = ["a/train_sharp/000/00000000.png", "b/train_sharp/000/00000000.png"];
    let message = error(&twice, PublishedLayout::Reds);
    assert!(message.contains("both the clip 000"), "{message}");
    let odd = ["train_sharp/000/00000000.png", "train_sharp/000/cover.png"];
    let message = error(&odd, PublishedLayout::Reds);
    assert!(message.contains("cover") && message.contains("8 digits"), "{message}");
}

const SMALL: [&str; 3] = [
    "train/GOPR0372_07_00/sharp/000047.png",
    "train/GOPR0372_07_00/sharp/000048.png",
    "train/GOPR0372_07_00/blur/000047.png",
];

fn written(form: Form) -> (TempDir, TempDir, Vec<PreparedTree>) {
    let (source, destination) = (download(&SMALL), tempdir().unwrap());
    let plan = Plan::of(source.path(), PublishedLayout::GoPro).unwrap();
    let mut heard = Vec::new();
    let trees = plan
        .write(destination.path(), form, &mut |tree, clip| {
            heard.push(format!("{}/{}", tree.name, clip.name));
        })
        .unwrap();
    assert_eq!(heard, ["train_GT/GOPR0372_07_00", "train_GT_blurred/GOPR0372_07_00"]);
    (source, destination, trees)
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn folders_are_written_with_lists_that_are_read() {
    let (source, destination, trees) = written(Form::Folders);
    assert_eq!(
        names_in(destination.path()),
        [
            "meta_info_train_GT.txt",
            "meta_info_train_GT_blurred.txt",
            "train_GT",
            "train_GT_blurred"
        ]
    );
    assert_eq!((trees[0].clips, trees[0].frames), (1, 2));
    let text = std::fs::read_to_string(&trees[0].list).unwrap();
    assert_eq!(text, "GOPR0372_07_00 2 (4,6,3) 000047\n");
    let list = ClipList::read(&trees[0].list).unwrap();
    assert_eq!((list.clips()[0].first, list.clips()[0].digits), (47, Some(6)));
    let copied = std::fs::read(trees[0].path.join("GOPR0372_07_00/000048.png")).unwrap();
    assert_eq!(copied, std::fs::read(source.path().join(SMALL[1])).unwrap());
}

#[test]
fn environments_hold_the_files() {
    let (source, destination, trees) = written(Form::Lmdb);
    assert_eq!(trees[0].path, destination.path().join("train_GT.lmdb"));
    let environment = vrt_lmdb::Environment::open(&trees[0].path).unwrap();
    assert_eq!(environment.keys().unwrap(), ["GOPR0372_07_00/000047", "GOPR0372_07_00/000048"]);
    let value = environment.get("GOPR0372_07_00/000047").unwrap().unwrap();
    assert_eq!(value, std::fs::read(source.path().join(SMALL[0])).unwrap());
    let keys = std::fs::read_to_string(trees[0].path.join("meta_info.txt")).unwrap();
    assert_eq!(keys.lines().next(), Some("GOPR0372_07_00/000047.png (4,6,3) 1"));
}

#[test]
fn nothing_is_overwritten() {
    for form in [Form::Folders, Form::Lmdb] {
        let (source, destination, trees) = written(form);
        let plan = Plan::of(source.path(), PublishedLayout::GoPro).unwrap();
        let again = || plan.write(destination.path(), form, &mut |_, _| ()).unwrap_err();
        let message = again().to_string();
        assert!(message.contains("train_GT") && message.contains("exists already"), "{message}");
        // A list alone is in the way as well, and then no tree is begun.
        std::fs::remove_dir_all(&trees[0].path).unwrap();
        let message = again().to_string();
        assert!(message.contains("meta_info_train_GT.txt"), "{message}");
        assert!(!trees[0].path.exists());
    }
    let (source, destination) = (download(&SMALL), tempdir().unwrap());
    std::fs::create_dir(destination.path().join(".train_GT.part")).unwrap();
    let plan = Plan::of(source.path(), PublishedLayout::GoPro).unwrap();
    let error = plan.write(destination.path(), Form::Folders, &mut |_, _| ()).unwrap_err();
    assert!(error.to_string().contains("cut off"), "{error}");
}
