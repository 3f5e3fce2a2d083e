"""The catalogue: every spec's counts against those measured on the originals, and its files against their generator."""

import runpy
from pathlib import Path

import pytest

from resnet_compile import load_spec, plan_network
from resnet_compile.plan.layers import Conv
from resnet_compile.spec.catalogue import catalogue, catalogue_folder

ROOT = Path(__file__).resolve().parents[1]

# Parameters, moving statistics (None where the sources give none), multiply-accumulates, at the spec's own input.
COUNTS = {
    "resnet50": (25_568_360, 45_440, 3_482_255_360),
    "resnet101": (44_577_896, 97_664, 7_194_476_544),
    "resnet152": (60_236_904, 143_744, 10_906_697_728),
    "resnet200": (64_726_120, 168_320, 14_400_552_960),
    "resnet_v1_50": (25_557_032, 53_120, 3_482_255_360),
    "resnet_v1_101": (44_549_160, 105_344, 7_194_476_544),
    "resnet_v1_152": (60_192_808, 151_424, 10_906_697_728),
    "resnet_v1_200": (64_673_832, 176_000, 14_400_552_960),
    "cifar_resnet20": (269_722, 1_376, 40_551_040),
    "cifar_resnet32": (464_154, 2_272, 68_862_592),
    "cifar_resnet44": (658_586, 3_168, 97_174_144),
    "cifar_resnet56": (853_018, 4_064, 125_485_696),
    "cifar_resnet110": (1_727_962, 8_096, 252_887_680),
    "cifar_resnet164": (1_703_258, 24_224, 244_500_992),
    "cifar_resnet1001": (10_327_706, 149_216, 1_487_849_984),
    "wrn_28_10": (36_220_634, 17_952, 5_214_492_928),
    "torchvision_resnet18": (11_689_512, 9_600, 1_814_073_344),
    "torchvision_resnet34": (21_797_672, 17_024, 3_663_761_408),
    "torchvision_resnet50": (25_557_032, 53_120, 4_089_184_256),
    "torchvision_resnet101": (44_549_160, 105_344, 7_801_405_440),
    "torchvision_resnet152": (60_192_808, 151_424, 11_513_626_624),
    "torchvision_resnext50_32x4d": (25_028_904, 68_224, 4_230_479_872),
    "torchvision_resnext101_32x8d": (88_791_336, 202_880, 16_414_015_488),
    "torchvision_resnext101_64x4d": (83_455_272, 202_880, 15_460_270_080),
    "torchvision_wide_resnet50_2": (68_883_240, 68_224, 11_398_021_120),
    "torchvision_wide_resnet101_2": (126_886_696, 137_856, 22_753_050_624),
    "timm_resnet18d": (11_708_744, 9_728, 2_053_713_920),
    "timm_resnet50d": (25_576_264, 53_248, 4_328_824_832),
    "timm_seresnet50": (28_088_024, 53_120, 4_091_699_200),
    "timm_ecaresnet50d": (25_576_350, 53_248, 4_328_912_640),
    "transformers_resnet26": (15_995_176, 30_848, 2_342_256_640),
    "kuangliu_resnet18": (11_173_962, 9_600, 555_422_720),
    "kuangliu_resnet34": (21_282_122, 17_024, 1_159_402_496),
    "kuangliu_resnet50": (23_520_842, 53_120, 1_297_829_888),
    "kuangliu_resnet101": (42_512_970, 105_344, 2_509_983_744),
    "kuangliu_resnet152": (58_156_618, 151_424, 3_722_137_600),
    "kuangliu_preact_resnet18": (11_171_146, 6_784, 555_422_720),
    "kuangliu_preact_resnet34": (21_279_306, 14_208, 1_159_402_496),
    "kuangliu_preact_resnet50": (23_509_066, 41_344, 1_297_829_888),
    "kuangliu_preact_resnet101": (42_501_194, 93_568, 2_509_983_744),
    "kuangliu_preact_resnet152": (58_144_842, 139_648, 3_722_137_600),
    "akamaster_resnet20": (269_722, 1_376, 40_551_040),
    "akamaster_resnet32": (464_154, 2_272, 68_862_592),
    "akamaster_resnet44": (658_586, 3_168, 97_174_144),
    "akamaster_resnet56": (853_018, 4_064, 125_485_696),
    "akamaster_resnet110": (1_727_962, 8_096, 252_887_680),
    "akamaster_resnet1202": (19_421_274, 89_632, 2_829_238_912),
    "detectron2_resnet50": (23_508_032, 53_120, 3_855_925_248),
    "detectron2_resnet101": (42_500_160, 105_344, 7_568_146_432),
    "caffe2_resnet50": (25_557_032, 0, 3_857_973_248),
    "caffe2_resnet101": (44_549_160, 0, 7_570_194_432),
    "caffe2_resnet152": (60_192_808, 0, 11_282_415_616),
    "tensorpack_resnet18": (11_689_512, 9_600, 1_814_073_344),
    "tensorpack_resnet34": (21_797_672, 17_024, 3_663_761_408),
    "tensorpack_resnet50": (25_557_032, 53_120, 4_089_184_256),
    "tensorpack_resnet101": (44_549_160, 105_344, 7_801_405_440),
    "tensorpack_resnet152": (60_192_808, 151_424, 11_513_626_624),
    "timm_resnetv2_50": (25_549_352, None, 4_089_184_256),
    "timm_resnetv2_101": (44_541_480, None, 7_801_405_440),
    "timm_resnetv2_152": (60_185_128, None, 11_513_626_624),
    "keras_resnet50": (25_583_592, 53_120, 3_857_973_248),
    "keras_resnet101": (44_601_832, 105_344, 7_570_194_432),
    "keras_resnet152": (60_268_520, 151_424, 11_282_415_616),
    "keras_resnet50v2": (25_568_360, 45_440, 3_482_255_360),
    "keras_resnet101v2": (44_577_896, 97_664, 7_194_476_544),
    "keras_resnet152v2": (60_236_904, 143_744, 10_906_697_728),
    "tf_official_resnet18_v1": (11_694_249, 9_728, 1_826_918_912),
    "tf_official_resnet34_v1": (21_802_409, 17_152, 3_676_606_976),
    "tf_official_resnet50_v1": (25_559_081, 53_120, 4_089_186_304),
    "tf_official_resnet101_v1": (44_551_209, 105_344, 7_801_407_488),
    "tf_official_resnet152_v1": (60_194_857, 151_424, 11_513_628_672),
    "tf_official_resnet200_v1": (64_675_881, 176_000, 15_007_483_904),
    "tf_official_cifar_resnet20_v1": (272_762, 1_600, 41_075_328),
    "tf_official_cifar_resnet32_v1": (467_194, 2_496, 69_386_880),
    "tf_official_cifar_resnet44_v1": (661_626, 3_392, 97_698_432),
    "tf_official_cifar_resnet56_v1": (856_058, 4_288, 126_009_984),
    "tf_official_cifar_resnet110_v1": (1_731_002, 8_320, 253_411_968),
    "tf_official_resnet18_v2": (11_692_329, 7_808, 1_826_918_912),
    "tf_official_resnet34_v2": (21_800_489, 15_232, 3_676_606_976),
    "tf_official_resnet50_v2": (25_551_401, 45_440, 4_089_186_304),
    "tf_official_resnet101_v2": (44_543_529, 97_664, 7_801_407_488),
    "tf_official_resnet152_v2": (60_187_177, 143_744, 11_513_628_672),
    "tf_official_resnet200_v2": (64_668_201, 168_320, 15_007_483_904),
    "tf_official_cifar_resnet20_v2": (272_538, 1_376, 41_075_328),
    "tf_official_cifar_resnet32_v2": (466_970, 2_272, 69_386_880),
    "tf_official_cifar_resnet44_v2": (661_402, 3_168, 97_698_432),
    "tf_official_cifar_resnet56_v2": (855_834, 4_064, 126_009_984),
    "tf_official_cifar_resnet110_v2": (1_730_778, 8_096, 253_411_968),
    "mlperf_tiny_resnet8": (78_186, 480, 12_501_632),
}
# Ours, or another size of one that is counted.
WITHOUT_ORIGINAL = {"tiny", "resnet101_segmentation"}
# Parameters at 100 classes, and convolutions, which the logits are none of.
CIFAR = {
    "cifar_resnet20": (275_572, 19),
    "cifar_resnet32": (470_004, 31),
    "cifar_resnet44": (664_436, 43),
    "cifar_resnet56": (858_868, 55),
    "cifar_resnet110": (1_733_812, 109),
    "cifar_resnet164": (1_726_388, 166),
    "cifar_resnet1001": (10_350_836, 1_003),
    "wrn_28_10": (36_278_324, 25),
}
# Tensors of the originals' state_dicts, of which each batch norm's num_batches_tracked is one.
STATE_DICTS = {
    "torchvision_resnet18": 122,
    "torchvision_resnet34": 218,
    "torchvision_resnet50": 320,
    "torchvision_resnet101": 626,
    "torchvision_resnet152": 932,
    "torchvision_resnext50_32x4d": 320,
    "torchvision_resnext101_64x4d": 626,
    "torchvision_wide_resnet50_2": 320,
    "timm_resnetv2_50": 300,
    "timm_resnetv2_101": 606,
    "timm_resnetv2_152": 912,
}


def test_every_spec_is_counted() -> None:
    assert set(catalogue()) == set(COUNTS) | WITHOUT_ORIGINAL


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_the_originals(name: str) -> None:
    planned = plan_network(load_spec(name))
    parameters, moving_statistics, macs = COUNTS[name]
    assert planned.num_parameters == parameters
    assert moving_statistics in (None, planned.num_moving_statistics)
    assert planned.macs == macs


@pytest.mark.parametrize("name", CIFAR)
def test_a_copy_with_other_classes_serves_for_cifar_100(name: str) -> None:
    spec = load_spec(name)
    planned = plan_network(spec.replace(head=spec.head.replace(num_classes=100)))
    parameters, convolutions = CIFAR[name]
    assert planned.num_parameters == parameters
    assert sum(isinstance(layer, Conv) for layer in planned.layers) == convolutions


@pytest.mark.parametrize("name", STATE_DICTS)
def test_tensors_are_those_of_the_state_dict(name: str) -> None:
    planned = plan_network(load_spec(name))
    norms = sum(parameter.role == "beta" for parameter in planned.parameters)
    assert len(planned.parameters) + norms == STATE_DICTS[name]


@pytest.mark.parametrize("name", catalogue())
def test_every_spec_names_its_origin_and_preprocessing(name: str) -> None:
    spec = load_spec(name)
    assert spec.origin
    assert spec.input.preprocess


def test_the_kept_files_are_the_generated_ones() -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "write_catalogue.py"))
    generated = {name: tool["text"](spec) for name, spec in tool["catalogue"]()}
    kept = {name: (catalogue_folder() / f"{name}.json").read_text() for name in catalogue()}
    assert kept == generated, "run: python tools/write_catalogue.py"
