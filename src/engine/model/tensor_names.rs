//! The names of a model's tensors, as the families know them.
//!
//! Models that also read images keep the text model's tensors below a path of their own. Parts that the engine does not compute
//! are left out.

/// Where a text model is kept, and its usual place.
const TEXT_MODELS: [(&str, &str); 2] = [("model.language_model.", "model."), ("language_model.", "")];

/// Parts that the engine does not compute: images and sound, and the prediction of several tokens at once.
const LEFT_OUT: [&str; 16] = [
    "vision_tower.",
    "model.vision_tower.",
    "multi_modal_projector.",
    "model.multi_modal_projector.",
    "model.visual.",
    "visual.",
    "vision_embedder.",
    "model.vision_embedder.",
    "embed_vision.",
    "model.embed_vision.",
    "audio_tower.",
    "model.audio_tower.",
    "embed_audio.",
    "model.embed_audio.",
    "mtp.",
    "model.mtp.",
];

/// How Mixtral named the projections of its single experts, as MiniMax does, and their usual names.
const EXPERT_PARTS: [(&str, &str); 3] = [(".w1.", ".gate_proj."), (".w2.", ".down_proj."), (".w3.", ".up_proj.")];

/// The usual name of a tensor, or the usual path of a layer; `None` for parts that the engine does not compute.
///
/// `layers`: how many transformer blocks the model has. What is numbered beyond them predicts several tokens at once (GLM).
pub(super) fn usual_name(name: &str, layers: usize) -> Option<String> {
    let moved = |(from, to): &(&str, &str)| name.strip_prefix(from).map(|rest| format!("{to}{rest}"));
    let mut usual = TEXT_MODELS.iter().find_map(moved).unwrap_or_else(|| name.to_owned());
    if usual.contains(".block_sparse_moe.experts.") {
        usual = EXPERT_PARTS.iter().fold(usual, |name, (part, usual)| name.replace(part, usual));
    }
    let layer = usual.strip_prefix("model.layers.").and_then(|rest| rest.split('.').next()?.parse().ok());
    let left_out = LEFT_OUT.iter().any(|part| usual.starts_with(part)) || layer.is_some_and(|layer: usize| layer >= layers);
    (!left_out).then_some(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_tensors_have_one_name_wherever_they_are_kept() {
        for (name, usual) in [
            ("model.layers.0.mlp.gate.weight", Some("model.layers.0.mlp.gate.weight")),
            ("language_model.model.layers.0.mlp.gate", Some("model.layers.0.mlp.gate")),
            ("language_model.lm_head.weight", Some("lm_head.weight")),
            ("model.language_model.embed_tokens.weight", Some("model.embed_tokens.weight")),
            (
                "model.layers.1.block_sparse_moe.experts.3.w2.weight",
                Some("model.layers.1.block_sparse_moe.experts.3.down_proj.weight"),
            ),
            ("vision_tower.blocks.0.weight", None),
            ("model.multi_modal_projector.norm.weight", None),
            ("model.visual.blocks.0.weight", None),
            ("model.embed_vision.embedding_projection.weight", None),
            ("audio_tower.layers.0.weight", None),
            ("mtp.fc.weight", None),
            ("model.layers.2.mlp.gate.weight", None),
            ("model.layers.10.eh_proj.weight", None),
            ("language_model.mtp.fc.weight", None),
        ] {
            assert_eq!(usual_name(name, 2).as_deref(), usual, "{name}");
        }
    }
}
