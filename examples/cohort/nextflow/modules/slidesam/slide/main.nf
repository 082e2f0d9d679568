process SLIDESAM_SLIDE {
    tag "${meta.id}"
    label 'process_high'

    input:
    tuple val(meta), path(slide)
    path model

    output:
    tuple val(meta), path("slides/${meta.id}/objects.geojson"), emit: geojson, optional: true
    tuple val(meta), path("slides/${meta.id}/objects.csv")    , emit: csv    , optional: true
    tuple val(meta), path("slides/${meta.id}")                , emit: folder
    path "versions.yml"                                       , emit: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args  = task.ext.args ?: ''
    def given = model ? "-model ${model}" : ''
    """
    printf 'slide,id,mpp\\n"%s","%s",%s\\n' '${slide.name}' '${meta.id}' '${meta.mpp ?: ''}' > slide.csv
    code=0
    slidesam cohort -sheet slide.csv -out . ${given} ${args} || code=\$?
    # A slide that failed says so in failed.json, for the table; anything else is the task's failure.
    [ -e 'slides/${meta.id}/slide.json' ] || [ -e 'slides/${meta.id}/failed.json' ] || exit \$code
    rm -rf 'slides/${meta.id}/tiles' 'slides/${meta.id}/shards'

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        slidesam: \$(slidesam --version | sed 's/.* //')
    END_VERSIONS
    """

    stub:
    """
    mkdir -p 'slides/${meta.id}'
    touch 'slides/${meta.id}/objects.geojson' 'slides/${meta.id}/objects.csv'

    cat <<-END_VERSIONS > versions.yml
    "${task.process}":
        slidesam: \$(slidesam --version | sed 's/.* //')
    END_VERSIONS
    """
}
