//! A whole run whose products have factors of bfloat16.

use vrt_model::checkpoint::Element;

use super::*;

/// What a run leaves behind.
#[derive(Debug, PartialEq)]
struct Left {
    losses: Vec<f64>,
    files: [Vec<u8>; 3],
}

/// Eight steps on a fixed batch, stopped and gone on with after some of them.
fn ran(precision: &str, stops: &[u64]) -> Left {
    let bench = Bench::new();
    let mut options = small(&bench.batch(2, &[]), 8);
    options["netG"]["drop_path_rate"] = 0.1.into();
    options["train"]["E_decay"] = 0.9.into();
    options["train"]["precision"] = precision.into();
    let mut losses = Vec::new();
    for (i, stop) in stops.iter().copied().map(Some).chain([None]).enumerate() {
        let (summary, seen) = bench.run(&options, &[], i > 0, stop);
        assert_eq!(summary.unwrap().step, stop.unwrap_or(8));
        assert!(seen.went_back.is_empty());
        losses.extend(seen.steps.iter().map(|step| step.loss));
    }
    let files = ["states/8.safetensors", "models/8_G.pth", "models/8_E.pth"];
    let files = files.map(|name| bench.path("run").join(name));
    for file in &files {
        let checkpoint = Checkpoint::open(file).unwrap();
        let floats = checkpoint.tensors().iter().filter(|(_, tensor)| tensor.element().is_float());
        let mut count = 0;
        for (name, tensor) in floats {
            assert_eq!(tensor.element(), Element::F32, "{name} of {file:?}");
            assert!(checkpoint.read(name).unwrap().iter().all(|v| v.is_finite()), "{name}");
            count += 1;
        }
        assert!(count > 100, "{count} tensors in {file:?}");
    }
    Left { losses, files: files.map(|file| tensors(&file)) }
}

/// The values of a file, without the options that name folders.
fn tensors(file: &Path) -> Vec<u8> {
    let checkpoint = Checkpoint::open(file).unwrap();
    let names = checkpoint.tensors().iter().filter(|(_, tensor)| tensor.element().is_float());
    let values = names.flat_map(|(name, _)| checkpoint.read(name).unwrap());
    values.flat_map(f32::to_le_bytes).collect()
}

#[test]
fn a_run_in_bf16_follows_the_one_in_f32_and_is_the_same_however_often_it_is_stopped() {
    let (exact, rounded) = (ran("f32", &[]), ran("bf16", &[]));
    assert_eq!((exact.losses.len(), rounded.losses.len()), (8, 8));
    for (step, (exact, rounded)) in exact.losses.iter().zip(&rounded.losses).enumerate() {
        let off = (exact - rounded).abs() / exact;
        assert!(off <= 0.02, "step {}: {rounded} beside {exact}", step + 1);
    }
    assert!(exact.losses != rounded.losses, "nothing was rounded");
    assert!(ran("bf16", &[]) == rounded, "a second run differs");
    assert!(ran("bf16", &[3, 6]) == rounded, "a run that was stopped differs");
}
