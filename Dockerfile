# lesionseg without torch: segments photos, DICOM ones included, on the CPU; needs no network to run.
#
#   docker build -t lesionseg .
#   docker run --rm --network none -v "$PWD:/data" -u "$(id -u):$(id -g)" lesionseg segment photo.dcm -o outline.dcm

FROM python:3.13-slim AS build
COPY . /source
WORKDIR /source
RUN python -m venv --without-pip /opt/lesionseg \
    && pip --python /opt/lesionseg install --no-cache-dir -c constraints.txt \
        -r requirements-segment.txt pydicom highdicom \
    && pip --python /opt/lesionseg install --no-cache-dir --no-deps .

FROM python:3.13-slim
COPY --from=build /opt/lesionseg /opt/lesionseg
ENV PATH=/opt/lesionseg/bin:$PATH LESIONSEG_CACHE_DIR=/tmp/lesionseg PYTHONDONTWRITEBYTECODE=1
RUN useradd --create-home lesionseg && lesionseg --version
USER lesionseg
WORKDIR /data
ENTRYPOINT ["lesionseg"]
CMD ["--help"]
