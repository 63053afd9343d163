//! A recipe as an option file, with nothing left to defaults.

use serde_json::{Value, json};
use vrt_model::option_file;

use super::Recipe;
use super::network::write_keeps;

/// Text that parses to the same recipe.
pub(super) fn text(recipe: &Recipe) -> String {
    let Recipe { task, root, network, start, data, test, train, validation, .. } = recipe;
    let mut net_g = option_file::to_json(network);
    net_g["net_type"] = "vrt".into();
    net_g["spynet_path"] = json!(start.flow);
    write_keeps(&recipe.keeps_attention, &mut net_g);
    let mut file = json!({
        "task": task,
        "model": "vrt",
        "scale": network.upscale(),
        "n_channels": network.in_channels(),
        "path": {
            "root": root,
            "pretrained_netG": start.weights,
            "pretrained_netE": start.averaged,
        },
        "datasets": { "train": data.to_json() },
        "netG": net_g,
        "train": train.to_json([start.strict, start.averaged_strict]),
        "val": validation.to_json(),
    });
    if let Some(test) = test {
        file["datasets"]["test"] = test.to_json();
    }
    pretty(&file)
}

/// JSON as a person reads it: lists of numbers stay on one line.
fn pretty(file: &Value) -> String {
    let mut text = String::new();
    write(file, 0, &mut text);
    text.push('\n');
    text
}

fn write(value: &Value, depth: usize, text: &mut String) {
    let Value::Object(map) = value else {
        text.push_str(&value.to_string());
        return;
    };
    let indent = |text: &mut String, depth: usize| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    text.push('{');
    for (i, (key, inner)) in map.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        indent(text, depth + 1);
        text.push_str(&format!("{}: ", Value::from(key.as_str())));
        write(inner, depth + 1, text);
    }
    indent(text, depth);
    text.push('}');
}
