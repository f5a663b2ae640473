import errno

import pytest

from tissuumaps_sic.slidefile.failure import as_os_errors, os_errno, os_reason

HDF5 = (
    "Can't synchronously write data (file write failed: time = Thu Nov 26\n, "
    "filename = '/d/.a-01234567.h5ad', "
    "file descriptor = 5, errno = 28, error message = 'No space left on device', buf = 0x1)"
)


@pytest.mark.parametrize("kind", [OSError, RuntimeError, ValueError])
def test_what_hdf5_says_of_a_full_disk_becomes_the_system_s_own_words(tmp_path, kind):
    with pytest.raises(OSError, match="No space left") as told, as_os_errors(tmp_path / "a.h5ad"):
        raise kind(HDF5)
    assert (told.value.errno, told.value.filename) == (errno.ENOSPC, str(tmp_path / "a.h5ad"))
    assert os_reason(told.value) == f"{tmp_path / 'a.h5ad'}: No space left on device"


def test_an_error_of_another_file_keeps_its_name_and_a_temporary_one_s_gets_the_target_s(tmp_path):
    with pytest.raises(OSError) as other, as_os_errors(tmp_path / "a.h5ad"):  # noqa: PT011
        raise OSError(28, "No space left on device", "/elsewhere/b")
    assert other.value.filename == "/elsewhere/b"
    with pytest.raises(OSError) as own, as_os_errors(tmp_path / "a.h5ad"):  # noqa: PT011
        raise OSError(28, "No space left on device", str(tmp_path / ".a-01234567.h5ad"))
    assert own.value.filename == str(tmp_path / "a.h5ad")


def test_what_is_no_failure_of_the_system_stays_what_it_is(tmp_path):
    with pytest.raises(ValueError, match="odd"), as_os_errors(tmp_path / "a"):
        raise ValueError("odd")
    assert os_errno(ValueError("odd")) is None
    assert os_reason(OSError("one\n  two"), "a.h5ad") == "a.h5ad: one two"
