//! What a check of a set finds.

use super::*;

fn checked(options: &TrainingSetOptions) -> CheckReport {
    check_set(options, &|_| ()).unwrap()
}

#[test]
fn a_sound_set_is_fine() {
    for scale in [1, 4] {
        let root = recurrent_set(scale);
        let options = TrainingSetOptions { scale, ..options(root.path(), SetKind::Recurrent) };
        let heard = std::sync::Mutex::new(Vec::new());
        let report = check_set(&options, &|done| heard.lock().unwrap().push(done)).unwrap();
        assert!(report.is_fine(), "{report:?}");
        assert_eq!((report.clips, report.pairs), (3, 28));
        heard.lock().unwrap().sort_unstable();
        assert_eq!(*heard.lock().unwrap(), [1, 2, 3]);
        let (sharp, degraded) = (root.path().join("sharp"), root.path().join("degraded"));
        let report = check_folders(&sharp, &degraded, scale, &|_| ()).unwrap();
        assert!(report.is_fine() && report.pairs == 28, "{report:?}");
    }
    let root = vimeo_set();
    let report = checked(&options(root.path(), SetKind::Vimeo));
    assert!(report.is_fine() && report.pairs == 14, "{report:?}");
}

#[test]
fn every_fault_is_told_with_its_frame() {
    let root = recurrent_set(1);
    let at = |name: &str| root.path().join(name);
    std::fs::remove_file(at("sharp/000/00004.png")).unwrap();
    std::fs::write(at("degraded/deep/001/00005.png"), "no picture").unwrap();
    std::fs::remove_file(at("degraded/241/00007.png")).unwrap();
    write(&at("degraded/241/00007.png"), &frame(2, 0));
    let report = checked(&options(root.path(), SetKind::Recurrent));
    assert_eq!(report.faults, 3);
    let told = report.problems.join("\n");
    for words in ["000/00004.png", "deep/001/00005.png of", "241/00007.png", "12×8"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let message = check_folders(&at("sharp"), &at("degraded"), 1, &|_| ()).unwrap_err().to_string();
    assert!(message.contains("00004"), "{message}");
    std::fs::remove_file(at("degraded/000/00004.png")).unwrap();
    let report = check_folders(&at("sharp"), &at("degraded"), 1, &|_| ()).unwrap();
    assert_eq!((report.faults, report.problems.len()), (2, 2), "{report:?}");
    let report = check_folders(&at("sharp"), &at("degraded"), 2, &|_| ()).unwrap();
    // All pairs but the one whose frame is of half the size.
    assert_eq!(report.faults, 26, "{report:?}");
}

#[test]
fn long_lists_of_faults_are_cut() {
    let root = recurrent_set(1);
    std::fs::write(root.path().join("list.txt"), "no 500 (16,24,3) 00000\n").unwrap();
    let report = checked(&options(root.path(), SetKind::Recurrent));
    assert_eq!((report.faults, report.problems.len()), (500, 100));
}
