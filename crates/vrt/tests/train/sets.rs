//! Every kind of training set and trial, each with its kind of network.

use serde_json::{Value, json};

use super::{Bench, small};

/// Puts the keys of `more` into the section of `options` at `path`.
fn put(options: &mut Value, path: &str, more: Value) {
    let section = options.pointer_mut(path).unwrap().as_object_mut().unwrap();
    section.extend(more.as_object().unwrap().clone());
}

#[test]
fn every_kind_of_set_trains_and_tries_its_kind_of_network() {
    let bench = Bench::new();
    bench.data();
    vimeo_data(&bench);
    for (name, case) in cases() {
        let mut options = small(2);
        put(&mut options, "/datasets/train", case.train);
        put(&mut options, "/datasets/test", case.test);
        let scale = case.net_g.get("upscale").cloned().unwrap_or(json!(1));
        put(&mut options, "/netG", case.net_g);
        put(&mut options, "", json!({ "task": name, "scale": scale }));
        put(&mut options, "/train", json!({ "checkpoint_test": 2, "fix_keys": ["deform"] }));
        bench.write(&options);
        bench.train(&[]).succeeded();
        let journal = bench.journal(&format!("runs/{name}"));
        assert!(journal[2]["psnr"].as_f64().unwrap() > 1.0, "{name}: {journal:?}");
        assert!(bench.path(&format!("runs/{name}/models/2_G.pth")).exists());
    }
}

/// A sequence in two sizes, `large` and `small`, and its list.
fn vimeo_data(bench: &Bench) {
    for (name, size) in [("large", 64), ("small", 16)] {
        bench.clip(name, "00001/0001", 7, (size, size));
        for i in 0..7 {
            let folder = bench.path(&format!("{name}/sharp/00001/0001"));
            let (from, to) = (format!("{i:08}.png"), format!("im{}.png", i + 1));
            std::fs::rename(folder.join(from), folder.join(to)).unwrap();
        }
    }
    std::fs::write(bench.path("vimeo.txt"), "00001/0001 7 (64,64,3)\n").unwrap();
}

/// Keys that make a kind of training.
struct Case {
    train: Value,
    test: Value,
    net_g: Value,
}

fn cases() -> [(&'static str, Case); 3] {
    let large = json!({ "dataroot_gt": "large/sharp", "dataroot_lq": "large/sharp" });
    let upscaled = json!({ "dataroot_gt": "large/sharp", "dataroot_lq": "small/sharp" });
    let vimeo = |roots: &Value, more: Value| {
        let mut keys = json!({ "meta_info_file": "vimeo.txt", "num_frame": 7 });
        put(&mut keys, "", roots.clone());
        put(&mut keys, "", more);
        keys
    };
    let denoising = Case {
        train: json!({
            "dataset_type": "VideoRecurrentTrainNonblindDenoisingDataset",
            "dataroot_lq": "train/sharp",
        }),
        test: json!({ "sigma": 30, "dataroot_lq": "test/sharp" }),
        net_g: json!({ "nonblind_denoising": true }),
    };
    let train = json!({
        "dataset_type": "VideoRecurrentTrainVimeoDataset",
        "gt_size": 64,
        "pad_sequence": true,
    });
    let test = json!({ "dataset_type": "VideoTestVimeo90KDataset", "mirror_sequence": true });
    let upscaling = Case {
        train: vimeo(&upscaled, train),
        test: vimeo(&upscaled, test),
        net_g: json!({ "upscale": 4 }),
    };
    let train = json!({
        "dataset_type": "VideoRecurrentTrainVimeoVFIDataset",
        "temporal_scale": 2,
        "color_jitter": true,
    });
    let test = json!({ "dataset_type": "VideoTestVimeo90KDataset", "temporal_scale": 2 });
    let interpolation = Case {
        train: vimeo(&large, train),
        test: vimeo(&large, test),
        net_g: json!({ "pa_frames": 0, "img_size": [4, 16, 16] }),
    };
    [("denoising", denoising), ("upscaling", upscaling), ("interpolation", interpolation)]
}
