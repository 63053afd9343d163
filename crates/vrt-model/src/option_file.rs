//! The network that a training option file describes, and configurations as JSON.
//!
//! Option files are JSON with `//` comments; the network is their section `netG`, its size and
//! channels may also stand above it as `scale` and `n_channels`. A key that nobody knows is an
//! error, never a default.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{ConfigError, RGB_CHANNELS, Reach, VrtConfig, VrtFields};
use crate::similar::nearest;

/// Keys of `netG` that make the network.
const NETWORK_KEYS: [&str; 19] = [
    "upscale",
    "in_chans",
    "out_chans",
    "img_size",
    "window_size",
    "depths",
    "indep_reconsts",
    "embed_dims",
    "num_heads",
    "mul_attn_ratio",
    "mlp_ratio",
    "drop_path_rate",
    "pa_frames",
    "deformable_groups",
    "nonblind_denoising",
    "fold",
    "trails",
    "coarse_flow",
    "net_type",
];

/// Keys of `netG` that say how it is trained or started, not what it is.
const OTHER_KEYS: [&str; 12] = [
    "scale",
    "spynet_path",
    "recal_all_flows",
    "use_checkpoint_attn",
    "use_checkpoint_ffn",
    "no_checkpoint_attn_blocks",
    "no_checkpoint_ffn_blocks",
    "init_type",
    "init_bn_type",
    "init_gain",
    "qkv_bias",
    "qk_scale",
];

/// Why an option file does not describe a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// The text is not JSON.
    #[error("the option file is not JSON with comments: {0}")]
    Json(#[source] serde_json::Error),
    /// A comment or string does not end.
    #[error("the option file has a comment or string that does not end: {0}")]
    Comments(#[source] std::io::Error),
    /// There is no section for the network.
    #[error("the option file has no section netG with the network in it")]
    NoNetwork,
    /// The section describes something else.
    #[error("netG.net_type is {0}, not \"vrt\"")]
    OtherNetwork(String),
    /// Keys that mean nothing.
    #[error("netG has keys that nobody knows: {}", list(.0))]
    Unknown(Vec<UnknownKey>),
    /// A key is missing, or its value is of the wrong kind.
    #[error("netG: {0}")]
    Value(#[source] serde_json::Error),
    /// A key has a value that no network here has.
    #[error("netG.{key} is {got}, but {reason}")]
    Unsupported {
        /// Which key.
        key: &'static str,
        /// Its value.
        got: String,
        /// What it has to be.
        reason: &'static str,
    },
    /// A key above `netG` is no whole number.
    #[error("{key} is {got}: write a whole number, without quotes")]
    NotNumber {
        /// Which key.
        key: &'static str,
        /// Its value.
        got: String,
    },
    /// Two keys say different things.
    #[error("scale is {scale} but netG.upscale is {upscale}: make them agree")]
    Scale {
        /// Above `netG`.
        scale: u64,
        /// In `netG`.
        upscale: usize,
    },
    /// The values do not make a network.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// A key that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// As the file has it.
    pub key: String,
    /// The most similar key there is.
    pub nearest: Option<String>,
}

fn list(keys: &[UnknownKey]) -> String {
    let described = keys.iter().map(|unknown| match &unknown.nearest {
        Some(nearest) => format!("{} (did you mean {nearest}?)", unknown.key),
        None => unknown.key.clone(),
    });
    described.collect::<Vec<_>>().join(", ")
}

/// `netG` under its published keys.
#[derive(Debug, Deserialize, Serialize)]
struct Network {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upscale: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    in_chans: Option<usize>,
    #[serde(default = "rgb")]
    out_chans: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    img_size: Option<[usize; 3]>,
    window_size: [usize; 3],
    depths: Vec<usize>,
    #[serde(default)]
    indep_reconsts: Vec<usize>,
    embed_dims: Vec<usize>,
    num_heads: Vec<usize>,
    #[serde(default = "mul_attn_ratio")]
    mul_attn_ratio: f64,
    #[serde(default = "mlp_ratio")]
    mlp_ratio: f64,
    #[serde(default = "drop_path_rate")]
    drop_path_rate: f64,
    pa_frames: usize,
    #[serde(default = "deformable_groups")]
    deformable_groups: usize,
    #[serde(default)]
    nonblind_denoising: bool,
    /// Not a published key: written only where it says something.
    #[serde(default = "unfolded", skip_serializing_if = "is_unfolded")]
    fold: usize,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    trails: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    coarse_flow: bool,
}

fn unfolded() -> usize {
    1
}

fn is_unfolded(fold: &usize) -> bool {
    *fold == 1
}

fn rgb() -> usize {
    RGB_CHANNELS
}

fn mul_attn_ratio() -> f64 {
    VrtFields::default().mul_attn_ratio
}

fn mlp_ratio() -> f64 {
    VrtFields::default().mlp_ratio
}

fn drop_path_rate() -> f64 {
    VrtFields::default().drop_path_rate
}

/// What the published network takes where an option file is silent.
fn deformable_groups() -> usize {
    16
}

/// The network of a whole option file.
///
/// `window_size`, `depths`, `embed_dims`, `num_heads` and `pa_frames` have to be there. Without
/// `upscale` the file's `scale` counts, without `in_chans` its `n_channels`; the rest is as in
/// the published network, and no entry of stage 8 is independent unless named.
///
/// # Errors
///
/// Fails if the text is no JSON with comments, has no `netG`, has keys there that nobody knows
/// (all are listed), or describes no network.
pub fn read(text: &str) -> Result<VrtConfig, OptionError> {
    let file = parse(text)?;
    let Some(Value::Object(section)) = file.get("netG") else {
        return Err(OptionError::NoNetwork);
    };
    let mut network = network(section)?;
    let number = |key: &'static str| match file.get(key) {
        None => Ok(None),
        Some(value) => value
            .as_u64()
            .map(Some)
            .ok_or_else(|| OptionError::NotNumber { key, got: value.to_string() }),
    };
    if let Some(scale) = number("scale")? {
        let upscale = *network.upscale.get_or_insert(to_size(scale));
        if upscale != to_size(scale) {
            return Err(OptionError::Scale { scale, upscale });
        }
    }
    network.in_chans = network.in_chans.or(number("n_channels")?.map(to_size));
    config(network)
}

/// The network of the section `netG` alone, as [`to_json`] writes it.
///
/// # Errors
///
/// As [`read`].
pub fn from_json(text: &str) -> Result<VrtConfig, OptionError> {
    config(network(&parse(text)?)?)
}

/// The configuration under its published keys, as in `netG`.
pub fn to_json(config: &VrtConfig) -> Value {
    let fields = config.fields().clone();
    let [_, height, width] = fields.window.map(|size| config.size_multiple() * size);
    serde_json::json!(Network {
        upscale: Some(fields.upscale),
        in_chans: Some(fields.in_channels),
        out_chans: config.out_channels(),
        img_size: fields.fused_frames.map(|frames| [frames, height, width]),
        window_size: fields.window,
        depths: fields.depths,
        indep_reconsts: fields.independent,
        embed_dims: fields.embed_dims,
        num_heads: fields.heads,
        mul_attn_ratio: fields.mul_attn_ratio,
        mlp_ratio: fields.mlp_ratio,
        drop_path_rate: fields.drop_path_rate,
        pa_frames: fields.reach.pa_frames(),
        deformable_groups: fields.deformable_groups,
        nonblind_denoising: fields.noise_map,
        fold: fields.fold,
        trails: fields.trails,
        coarse_flow: fields.coarse_flow,
    })
}

fn parse(text: &str) -> Result<Map<String, Value>, OptionError> {
    let mut text = text.to_owned();
    json_strip_comments::strip(&mut text).map_err(OptionError::Comments)?;
    serde_json::from_str(&text).map_err(OptionError::Json)
}

/// Too large numbers become the largest size, which the configuration refuses.
fn to_size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn network(section: &Map<String, Value>) -> Result<Network, OptionError> {
    match section.get("net_type") {
        None => {}
        Some(Value::String(name)) if name == "vrt" => {}
        Some(other) => return Err(OptionError::OtherNetwork(other.to_string())),
    }
    let known = || NETWORK_KEYS.into_iter().chain(OTHER_KEYS);
    let unknown = section.keys().filter(|key| known().all(|known| known != *key));
    let unknown =
        unknown.map(|key| UnknownKey { key: key.clone(), nearest: nearest(key, known()) });
    let unknown: Vec<_> = unknown.collect();
    if !unknown.is_empty() {
        return Err(OptionError::Unknown(unknown));
    }
    let fixed = [
        (
            "recal_all_flows",
            Value::Bool(false),
            "flows between frames further apart are composed here, as all published networks do; \
             remove the key or say false",
        ),
        ("qkv_bias", Value::Bool(true), "all published networks have these biases"),
        ("qk_scale", Value::Null, "the scale of queries follows from the width of a head"),
    ];
    for (key, value, reason) in fixed {
        if let Some(got) = section.get(key).filter(|got| **got != value) {
            return Err(OptionError::Unsupported { key, got: got.to_string(), reason });
        }
    }
    Network::deserialize(Value::Object(section.clone())).map_err(OptionError::Value)
}

fn config(network: Network) -> Result<VrtConfig, OptionError> {
    if network.out_chans != RGB_CHANNELS {
        let got = network.out_chans.to_string();
        let reason = "the output is RGB, 3 channels";
        return Err(OptionError::Unsupported { key: "out_chans", got, reason });
    }
    let pa_frames = network.pa_frames;
    let even = pa_frames.is_multiple_of(2);
    let Some(reach) = Reach::from_frames(pa_frames / 2).filter(|_| even) else {
        let (got, reason) = (pa_frames.to_string(), "neighbours are 0, 2, 4 or 6 frames");
        return Err(OptionError::Unsupported { key: "pa_frames", got, reason });
    };
    Ok(VrtConfig::new(VrtFields {
        upscale: network.upscale.unwrap_or(1),
        in_channels: network.in_chans.unwrap_or(RGB_CHANNELS),
        noise_map: network.nonblind_denoising,
        fold: network.fold,
        trails: network.trails,
        coarse_flow: network.coarse_flow,
        window: network.window_size,
        depths: network.depths,
        embed_dims: network.embed_dims,
        heads: network.num_heads,
        independent: network.indep_reconsts,
        reach,
        fused_frames: network.img_size.map(|[frames, _, _]| frames),
        deformable_groups: network.deformable_groups,
        mlp_ratio: network.mlp_ratio,
        mul_attn_ratio: network.mul_attn_ratio,
        drop_path_rate: network.drop_path_rate,
    })?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::tests::valid_fields;
    use crate::presets::Preset;

    const SAMPLE: &str = r#"{
        "task": "a name with // in it" // and a comment
        , "scale": 4
        , "n_channels": 4
        , "netG": {
            "net_type": "vrt"
            , "img_size": [6, 64, 64]
            , "window_size": [6, 8, 8]
            , "depths": [8,8,8,8,8,8,8, 4]   // "quoted"
            , "embed_dims": [24,24,24,24,24,24,24, 30]
            , "num_heads": [6,6,6,6,6,6,6, 6]
            , "spynet_path": "https://example.org/spynet.pth" // not a comment before this
            , "pa_frames": 2
            , "deformable_groups": 12
        }
    }"#;

    proptest! {
        #[test]
        fn a_configuration_survives_json(fields in valid_fields()) {
            let config = VrtConfig::new(fields).expect("valid");
            let again = from_json(&to_json(&config).to_string()).expect("valid");
            prop_assert_eq!(again, config);
        }
    }

    #[test]
    fn published_option_files_give_the_presets() {
        let Some(shared) = vrt_testing::shared_root() else {
            eprintln!("SKIPPED: the published option files are not on this machine");
            return;
        };
        let folder = shared.join("reference/options");
        let mut found = 0;
        for entry in std::fs::read_dir(folder).expect("a folder of options") {
            let path = entry.expect("an entry").path();
            if path.extension().is_none_or(|ending| ending != "json") {
                continue;
            }
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let config = read(&std::fs::read_to_string(&path).expect("text")).expect(&name);
            let mut fields = Preset::parse(&name[..3]).expect("a preset").config().fields().clone();
            if name.starts_with("002") {
                // The published file and the published checkpoint differ here.
                fields = VrtFields { reach: Reach::Two, deformable_groups: 16, ..fields };
            }
            assert_eq!(config, VrtConfig::new(fields).expect("valid"), "{name}");
            found += 1;
        }
        assert_eq!(found, 9);
    }

    #[test]
    fn comments_are_no_content_and_strings_no_comments() {
        let config = read(SAMPLE).expect("valid");
        assert_eq!((config.upscale(), config.in_channels()), (4, 4));
        assert_eq!(config.fields().depths, [8, 8, 8, 8, 8, 8, 8, 4]);
        assert!(config.fields().independent.is_empty());
        let stated =
            SAMPLE.replace(r#""pa_frames": 2"#, r#""pa_frames": 2, "recal_all_flows": false"#);
        assert_eq!(read(&stated).expect("valid"), config);
    }

    #[test]
    fn a_mistyped_key_is_an_error_not_a_default() {
        let text =
            SAMPLE.replace("deformable_groups", "deformable_group").replace("depths", "dephts");
        let error = read(&text).expect_err("two keys are wrong");
        let OptionError::Unknown(keys) = &error else { panic!("{error}") };
        let nearest: Vec<_> = keys.iter().map(|key| key.nearest.as_deref()).collect();
        assert_eq!(nearest, [Some("deformable_groups"), Some("depths")]);
        assert!(error.to_string().contains("dephts (did you mean depths?)"), "{error}");
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            (r#""pa_frames": 2"#, r#""pa_frames": 3"#, "pa_frames is 3"),
            (r#""pa_frames": 2"#, r#""pa_frames": -2"#, "netG:"),
            (r#""pa_frames": 2"#, r#""pa_frames": 2, "upscale": 2"#, "scale is 4"),
            (r#""pa_frames": 2"#, r#""pa_frames": 2, "out_chans": 1"#, "out_chans is 1"),
            (r#""pa_frames": 2"#, r#""pa_frames": 2, "qkv_bias": false"#, "qkv_bias is false"),
            (r#", "pa_frames": 2"#, "", "missing field `pa_frames`"),
            (r#""net_type": "vrt""#, r#""net_type": "rvrt""#, "rvrt"),
            (r#""netG""#, r#""netD""#, "no section netG"),
            (r#""depths": ["#, r#""depths": [8, "#, "depths has 9 entries"),
            (r#""deformable_groups": 12"#, r#""deformable_groups": 7"#, "7 deformable groups"),
            (r#""scale": 4"#, r#""scale": 18446744073709551615"#, "upscale is"),
            (r#""scale": 4"#, r#""scale": "4""#, r#"scale is "4""#),
            (r#""scale": 4"#, r#""scale": 4.5"#, "scale is 4.5"),
            (r#""n_channels": 4"#, r#""n_channels": [4]"#, "n_channels is [4]"),
            (
                r#""pa_frames": 2"#,
                r#""pa_frames": 2, "recal_all_flows": true"#,
                "recal_all_flows is",
            ),
            (r#""task":"#, r#""task""#, "not JSON"),
        ];
        for (from, to, message) in cases {
            assert!(SAMPLE.contains(from), "{from}");
            let error = read(&SAMPLE.replacen(from, to, 1)).expect_err(to);
            assert!(error.to_string().contains(message), "{message} is not in: {error}");
        }
    }
}
