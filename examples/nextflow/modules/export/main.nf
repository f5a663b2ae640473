// Labels to a file of any format that `tissuumaps-sic export --help` lists.
process TISSUUMAPS_SIC_EXPORT {
    tag "$meta.id"
    label 'process_single'
    container params.container

    input:
    tuple val(meta), path(h5ad), path(session)
    val format

    output:
    tuple val(meta), path("export/*"), emit: export
    path "versions.yml"              , emit: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    """
    mkdir export
    tissuumaps-sic export ${h5ad} --format ${format} -o export ${args}

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        tissuumaps-sic: \$(tissuumaps-sic --version | sed 's/.* //')
    END_VERSIONS
    """
}
