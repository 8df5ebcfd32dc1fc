"""Four-stage encoders of series, images and clips."""

BUILTIN = {
    "conv1d": "kdbench.encoders.conv:Conv1d",
    "conv2d": "kdbench.encoders.conv:Conv2d",
    "conv2plus1d": "kdbench.encoders.conv:Conv2Plus1d",
    "swin_t": "kdbench.encoders.swin:SwinT",
    "transformer1d": "kdbench.encoders.transformer1d:Transformer1d",
    "video_swin_t": "kdbench.encoders.video_swin:VideoSwinT",
}

FAMILIES = {
    "timm": "kdbench.encoders.timm_model:timm_encoder",
    "torchvision": "kdbench.encoders.torchvision_model:torchvision_encoder",
}
