"""Siamese transformer: both dates through one ResNet, a few tokens each, their difference decoded to a change mask.

BIT of Chen et al., Remote Sensing Image Change Detection with Transformers, 2021, of the variant
`base_transformer_pos_s4_dd8`, with a ResNet-50 in place of the ResNet-18: "ViT (ResNet-50)" of Long-MS-Diff.

    features    ResNet of four stages: the stem, and three of residual blocks, the third dilated in place of its stride;
                a pointwise convolution to `channels`, then bilinear to a quarter of the image's side (the published
                code: nearest neighbour, then a 3 x 3 convolution)
    tokens      `tokens` maps of attention over each date's features; a token is the mean of the features under its map
    encoder     the tokens of both dates together, with learned positions, through self-attention
    decoder     each pixel of each date asks the tokens of its own date, by cross-attention
    head        |difference| of the dates, bilinear to the full size, two convolutions

The network was made for images of 256 x 256. Lesions of small slices vanish at an eighth of their side; there
`stem_stride: 1` keeps all features at twice the side.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from msdiff.errors import BadInput
from msdiff.networks.padding import pad_to_multiple
from msdiff.settings import Settings

Count = Annotated[int, Field(ge=1)]
EXPANSION = 4  # of a bottleneck's output over its width; He et al., Deep Residual Learning, 2016, figure 5
REDUCTION = 4  # of the image's side by the stem's pooling and the second residual stage, beside the stem's stride


class SiameseTransformerSettings(Settings):
    """Sizes of the network.

    stem_channels       of the first convolution; 64 in ResNet-50
    stem_stride         of the first convolution; 2 in ResNet-50
    widths              of the bottlenecks of each residual stage; 64, 128, 256 in ResNet-50 up to stage four
    depths              bottlenecks of each stage; 3, 4, 6 in ResNet-50
    channels            of the features and tokens
    tokens              per date
    encoder_layers, decoder_layers, heads, head_channels, mlp_channels
                        of the transformer
    pretrained          ResNet weights in the layout of torchvision, as safetensors, or null
    """

    stem_channels: Count
    stem_stride: Literal[1, 2]
    widths: Annotated[tuple[Count, ...], Field(min_length=2, max_length=4)]
    depths: tuple[Count, ...]
    channels: Count
    tokens: Count
    encoder_layers: Count
    decoder_layers: Count
    heads: Count
    head_channels: Count
    mlp_channels: Count
    pretrained: str | None

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if len(self.widths) != len(self.depths):
            raise ValueError(f"depths needs one value per stage, {len(self.widths)}, got {len(self.depths)}")
        return self


class SiameseTransformer(nn.Module):
    """Detector of change between two images of one slice, of any size (padded inside to multiples of 8, or of 4)."""

    def __init__(self, settings: SiameseTransformerSettings) -> None:
        super().__init__()
        self.settings = settings
        channels, tokens = settings.channels, settings.tokens
        self.backbone = ResNet(settings)
        self.reduce = nn.Conv2d(EXPANSION * settings.widths[-1], channels, kernel_size=1)
        self.attend = nn.Conv2d(channels, tokens, kernel_size=1, bias=False)
        self.position = nn.Parameter(torch.randn(1, 2 * tokens, channels))
        self.encoder = nn.ModuleList(TransformerLayer(settings) for _ in range(settings.encoder_layers))
        self.decoder = nn.ModuleList(TransformerLayer(settings) for _ in range(settings.decoder_layers))
        self.head = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 1, kernel_size=3, padding=1),
        )

    def forward(self, baseline: Tensor, follow_up: Tensor) -> Tensor:
        """Logits of change (B, 1, H, W) between two images (B, 1, H, W) in [-1, 1]."""
        height, width = baseline.shape[-2:]
        # Both dates in one batch: in training, batch normalisation sees them together.
        dates = self.features(pad_to_multiple(torch.cat([baseline, follow_up]), REDUCTION * self.settings.stem_stride))
        shape = dates.shape
        pixels = dates.flatten(2).transpose(1, 2)  # (2B, N, C), N = HW / 16 for the stride of 2
        maps = self.attend(dates).flatten(2).softmax(dim=-1)  # (2B, tokens, N)
        tokens = torch.cat((maps @ pixels).chunk(2), dim=1) + self.position  # (B, 2 tokens, C)
        for layer in self.encoder:
            tokens = layer(tokens, tokens)
        tokens = torch.cat(tokens.chunk(2, dim=1))  # (2B, tokens, C)
        for layer in self.decoder:
            pixels = layer(pixels, tokens)
        before, after = pixels.transpose(1, 2).reshape(shape).chunk(2)
        factor = REDUCTION * self.settings.stem_stride // 2
        difference = functional.interpolate(
            (before - after).abs(), scale_factor=factor, mode="bilinear", align_corners=False
        )
        logits: Tensor = self.head(difference)
        return logits[..., :height, :width]

    def features(self, image: Tensor) -> Tensor:
        """Features (B, channels, H / 4, W / 4) of images (B, 1, H, W), sides multiples of 8.

        A stem's stride of 1 halves the two numbers.
        """
        reduced = self.reduce(self.backbone(image))
        return functional.interpolate(reduced, scale_factor=2, mode="bilinear", align_corners=False)


class TransformerLayer(nn.Module):
    """Attention of queries (B, N, C) to a memory (B, M, C), then a perceptron; each normalised before, added after."""

    def __init__(self, settings: SiameseTransformerSettings) -> None:
        super().__init__()
        channels, inner = settings.channels, settings.heads * settings.head_channels
        self.heads = settings.heads
        self.norm = nn.LayerNorm(channels)
        self.to_query = nn.Linear(channels, inner, bias=False)
        self.to_key = nn.Linear(channels, inner, bias=False)
        self.to_value = nn.Linear(channels, inner, bias=False)
        self.to_output = nn.Linear(inner, channels)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, settings.mlp_channels),
            nn.GELU(),
            nn.Linear(settings.mlp_channels, channels),
        )

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Queries (B, N, C) that have attended to the memory (B, M, C)."""
        normed = self.norm(memory)
        query = self._split(self.to_query(self.norm(queries)))
        key, value = self._split(self.to_key(normed)), self._split(self.to_value(normed))
        attended = functional.scaled_dot_product_attention(query, key, value)
        hidden = queries + self.to_output(attended.transpose(1, 2).flatten(2))
        return hidden + self.perceptron(hidden)  # type: ignore[no-any-return]

    def _split(self, values: Tensor) -> Tensor:
        """(B, N, heads x head_channels) as (B, heads, N, head_channels)."""
        return values.reshape(*values.shape[:2], self.heads, -1).transpose(1, 2)


class ResNet(nn.Module):
    """ResNet for images (B, 1, H, W): features (B, 4 widths[-1], H / 8, W / 8), or H / 4 for a stem's stride of 1.

    Stages from the third on keep their resolution and are dilated. Modules are named as in torchvision, so that its
    weights fit.
    """

    def __init__(self, settings: SiameseTransformerSettings) -> None:
        super().__init__()
        stem = settings.stem_channels
        self.conv1 = nn.Conv2d(1, stem, kernel_size=7, stride=settings.stem_stride, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        before = stem
        for number, (width, depth) in enumerate(zip(settings.widths, settings.depths, strict=True), start=1):
            stride = 2 if number == 2 else 1
            dilation = 2 ** max(number - 2, 0)
            inputs = [before] + [EXPANSION * width] * (depth - 1)
            blocks = [
                Bottleneck(
                    channels,
                    width,
                    stride=stride if first else 1,
                    # The first block of a dilated stage still sees the sampling of the stage before.
                    dilation=max(dilation // 2, 1) if first else dilation,
                )
                for first, channels in zip([True] + [False] * (depth - 1), inputs, strict=True)
            ]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
            before = EXPANSION * width
        self.stages = len(settings.widths)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        """Features (B, 4 widths[-1], H / 8, W / 8), or H / 4 for a stem's stride of 1."""
        hidden: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        for number in range(1, self.stages + 1):
            hidden = getattr(self, f"layer{number}")(hidden)
        return hidden


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions around a shortcut. He et al., Deep Residual Learning, 2016, figure 5."""

    def __init__(self, in_channels: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        out_channels = EXPANSION * width
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(
            width, width, kernel_size=3, stride=stride, padding=dilation, dilation=dilation, bias=False
        )
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, 4 width, H / stride, W / stride)."""
        hidden = self.relu(self.bn1(self.conv1(features)))
        hidden = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(hidden)))))
        return self.relu(hidden + self.downsample(features))  # type: ignore[no-any-return]


def start_from_pretrained(backbone: ResNet, path: str | Path) -> None:
    """Fill the backbone from ResNet weights in torchvision's layout (safetensors); those it has no place for are left.

    The three colours' first kernels are added up: a grey image is the same in all three.

    Raises BadInput where the file is missing or unreadable, or lacks a weight or has it in another shape.
    """
    if not Path(path).is_file():
        raise BadInput(f"{path}: no such pretrained weights; correct network.pretrained, or set it to null")
    try:
        given = load_file(path)
    except SafetensorError as error:
        raise BadInput(
            f"{path}: expected pretrained weights in safetensors format, cannot read them ({error})"
        ) from error
    wanted = backbone.state_dict()
    if "conv1.weight" in given:
        given["conv1.weight"] = given["conv1.weight"].sum(dim=1, keepdim=True)
    for name, tensor in wanted.items():
        if name not in given:
            raise BadInput(f"{path}: expected the weight {name} of a ResNet in torchvision's layout, it is not there")
        if given[name].shape != tensor.shape:
            raise BadInput(
                f"{path}: expected {name} of shape {tuple(tensor.shape)}, got {tuple(given[name].shape)}; "
                "widths and depths must be those of the pretrained network"
            )
    backbone.load_state_dict({name: given[name] for name in wanted})
